"""The policy of a rule that is a pure step: asked only where its answer may change, on any engine."""

import numpy as np

from satisfice.core.card import Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals, random_key
from satisfice.core.errors import Unfit
from satisfice.core.session import Session
from satisfice.core.stepping import Biased, Hold, Move, Stepping, asked
from satisfice.methods.stopping.trial import cue_ids, think_to_cue, think_to_step

LIKELIEST = 20  # tokens among which the end of thinking and cues are looked for; what servers give


async def follow(rule: Stepping, session: Session) -> Chain:
    """Think as a rule wants: the policy that is derived from its step."""
    chain, cue = session.chain(), 0
    targets = rule.targets(session.engine) if isinstance(rule, Biased) else ()
    if targets and Need.LOGITS not in session.engine.provides:
        raise Unfit(f"{rule.card.id}: these settings change scores, which {session.engine.name} does not let anybody.")
    key = random_key(session.seed, session.problem.id, chain.name)
    placed = rule.at == "token"  # whether the chain stands where the rule may stop it
    while True:
        move, hold = None, rule.hold(chain.thought, targets)
        if placed or targets:
            seen = _seen(chain, hold) if placed else {}
            number = cue if placed else cue + 1
            move = asked(
                rule, thought=chain.thought, cue=number, key=key, tokens=chain.after_prompt(), targets=targets, **seen
            )
        if placed and move is not None and _stops(rule, chain, move):
            return await chain.close_thinking()
        if not await _think(chain, hold, _bias(targets, move)):
            return await chain.finish()
        cue += hold.place == "cue"
        placed = rule.at in ("token", hold.place)


def _stops(rule: Stepping, chain: Chain, move: Move) -> bool:
    """Write down what the rule saw, at places and where it stops; return whether it stops the chain."""
    stop = bool(move.close[0])
    if stop or rule.at != "token":
        chain.look(rule.measure, float(move.value[0]), threshold=rule.line, stop=stop)
    return stop


def _bias(targets: tuple[int, ...], move: Move | None) -> dict[int, float]:
    values = [] if move is None or move.bias is None else np.asarray(move.bias)[0].tolist()
    return {token: value for token, value in zip(targets, values, strict=False) if value}


async def _think(chain: Chain, hold: Hold, bias: dict[int, float]) -> bool:
    """Think on until the rule may say something else; False once thinking is over."""
    if hold.tokens is None and hold.place != "token":
        signals = Signals(top_logprobs=LIKELIEST if hold.masses else 0)
        return await (think_to_cue if hold.place == "cue" else think_to_step)(chain, signals=signals, bias=bias)
    return await chain.think(limit=hold.tokens, watch=hold.watch, bias=bias, sampler=hold.sampler)


def _seen(chain: Chain, hold: Hold) -> dict[str, float]:
    """Return the signals of `Rows` where the chain stands."""
    last, seen = chain.last, dict[str, float]()
    if hold.watch is not None:
        seen["mean"] = hold.watch.mean(() if last is None else last.watched)
    if hold.masses and last is not None and last.top_ids is not None and last.top_logprobs is not None:
        engine = chain.session.engine
        sizes = range(1, len(last.ids) + 1)
        held = next((n for n in sizes if last.match in engine.decode(list(last.ids[-n:]))), len(last.ids))
        top = dict(zip(last.top_ids[-held].tolist(), np.exp(last.top_logprobs[-held]).tolist(), strict=True))
        doubts = cue_ids(engine)
        seen["ends"] = top.get(engine.encode(engine.profile.think_close)[0], 0.0)
        seen["doubts"] = sum(p for token, p in top.items() if token in doubts)
    return seen
