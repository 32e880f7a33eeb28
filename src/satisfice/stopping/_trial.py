"""What several rules do at a cue: get there, and ask a copy of the chain for its answer now."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from satisfice.core.chain import Chain
from satisfice.core.engine import Sampled, Signals


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An answer that a chain would give if it had to stop here. The copy that gave it is gone."""

    text: str
    closed: bool  # the answer came to its end; False: the token limit cut it
    logprobs: NDArray[np.float32]  # [n] nats, of all sampled tokens, the one that ends the answer included


async def ask_trial(chain: Chain, tokens: int, *, logprobs: bool = False) -> Trial:
    """Ask a copy of the chain for its answer now: greedy, at most `tokens` tokens. The chain itself is untouched."""
    engine = chain.session.engine
    probe = chain.probe().inject(engine.profile.induce_answer)
    begin, seen = len(probe.ids), list[Sampled]()
    while True:
        left = tokens - sum(len(got.ids) for got in seen)
        seen.append(
            await probe.sample(left, until=engine.profile.answer_end, signals=Signals(logprobs=logprobs), greedy=True)
        )
        text = engine.decode([i for i in probe.ids[begin:] if i not in engine.end_ids])
        if seen[-1].match != "}" or _depth(text) <= 0:
            break  # a brace that closes one of the answer's own does not end it
    probe.drop()
    told = [got.logprobs for got in seen if got.logprobs is not None]
    return Trial(
        text=text,
        closed=seen[-1].reason in ("text", "token"),
        logprobs=np.concatenate(told) if told else np.zeros(0, dtype=np.float32),
    )


async def think_to_cue(chain: Chain) -> bool:
    """Think on to just before the next cue word; False once thinking is over.

    A cue inside a longer word ("await", "Waiter") is none, as far as its own tokens tell.
    """
    while await chain.think(until=chain.session.engine.profile.cues):
        before, cue, after = chain.held_text.partition(chain.last.match if chain.last is not None else "")
        before = chain.session.engine.decode(chain.ids[-1:]) + before
        if not (before[-1:].isalnum() or (cue[-1:].isalnum() and after[:1].isalnum())):
            return True
    return False


def _depth(text: str) -> int:
    """How many braces are open; escaped ones are text."""
    bare = text.replace(r"\{", "").replace(r"\}", "")
    return bare.count("{") - bare.count("}")
