"""The single checks of `check_engine`: what an engine is asked, and what must come of it."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from satisfice.core.card import Need
from satisfice.core.engine import Engine, Request, Sampled, Sequence, Signals, Watch
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.testing.method import Faulty

TOKENS = 8  # that a check samples where it needs some
_NEVER = 1e9


@dataclass(frozen=True)
class World:
    """An engine and what it is asked."""

    engine: Engine
    question: str
    label: str
    like: Request

    def opened(self) -> Sequence:
        """Return a sequence that holds the prompt alone."""
        return self.engine.open(self.question, self.label)

    async def begun(self, limit: int = TOKENS) -> tuple[Sequence, int, Sampled]:
        """Return a sequence with some tokens, the length of its prompt, and what was sampled."""
        sequence = self.opened()
        begin = len(sequence.ids)
        return sequence, begin, await sequence.sample(replace(self.like, limit=limit))

    def text(self, sequence: Sequence, begin: int) -> str:
        """Return what stands on a sequence after its prompt."""
        return self.engine.decode(sequence.ids[begin:])


Check = Callable[[World], Coroutine[Any, Any, None]]


def _claim(holds: bool, what: str) -> None:
    if not holds:
        raise Faulty(what)


async def _refused(work: Awaitable[Any], what: str, kind: type[Exception] = SatisficeError) -> None:
    try:
        await work
    except kind:
        return
    raise Faulty(f"{what} was not refused")


async def _call(work: Callable[..., Any], *given: Any) -> Any:
    return work(*given)


async def says_what_it_is(world: World) -> None:
    """Name, limits, the end of a turn and a description that can be written down."""
    engine = world.engine
    _claim(bool(engine.name) and engine.provides <= frozenset(Need), "it has no name, or provides what is no Need")
    _claim(engine.max_length > TOKENS, f"max_length is {engine.max_length}")
    _claim(bool(engine.end_ids) and all(type(i) is int and i >= 0 for i in engine.end_ids), "end_ids are no tokens")
    told = json.loads(json.dumps(engine.describe()))
    _claim(told.get("engine") == engine.name, f"describe() says {told.get('engine')!r}, name is {engine.name!r}")


async def splits_and_joins_text(world: World) -> None:
    """What is encoded comes back, as a whole and from the bytes of each token."""
    engine = world.engine
    for text in (engine.profile.think_close, engine.profile.induce_answer, engine.profile.close_thinking):
        ids = engine.encode(text)
        _claim(engine.decode(ids) == text, f"{text!r} comes back as {engine.decode(ids)!r}")
        joined = b"".join(engine.piece(i) for i in ids).decode("utf-8", "replace")
        _claim(joined == text, f"the pieces of {text!r} are {joined!r}")
    _claim(engine.decode([]) == "", "no tokens have a text")


async def renders(world: World) -> None:
    """Question, conversation and ready prompt lead to the same sequence, with thinking open."""
    engine, profile = world.engine, world.engine.profile
    prompt = engine.render(world.question)
    _claim(world.question in prompt, "the prompt does not hold the question")
    _claim(prompt.rfind(profile.think_open.strip()) > prompt.rfind(profile.think_close), "thinking is not open")
    chat = await engine.render_chat([{"role": "user", "content": world.question}])
    _claim(chat == prompt, f"a conversation of one message is {chat!r}, the question alone {prompt!r}")
    said = [("user", "First it rained."), ("assistant", "Then it stopped."), ("user", "And now, please?")]
    longer = await engine.render_chat([{"role": role, "content": text} for role, text in said])
    places = [longer.find(text) for _, text in said]
    _claim(min(places) >= 0 and places == sorted(places), f"a conversation of three messages is {longer!r}")
    opened, ready = world.opened(), engine.open_prompt(prompt, world.label)
    _claim(opened.ids == ready.ids, "open and open_prompt differ")
    again = engine.open_prompt(list(opened.ids), world.label)
    _claim(again.ids == opened.ids, "open_prompt changes tokens that it is given")
    for sequence in (opened, ready, again):
        sequence.close()


async def samples_up_to_a_limit(world: World) -> None:
    """So many tokens as were asked for, on the sequence and in the answer; the same again when asked again."""
    sequence, begin, got = await world.begun()
    _claim(len(got.ids) == TOKENS and got.reason == "length", f"{len(got.ids)} of {TOKENS} tokens, {got.reason}")
    _claim(sequence.ids[begin:] == list(got.ids), "the sequence holds other tokens than the answer")
    _claim(got.cut == len(sequence.ids) and sequence.last is got, "cut or last is not that of the answer")
    signals = (got.logprobs, got.top_logprobs, got.top_ids, got.entropy)
    _claim(all(s is None for s in signals) and not got.hidden, "signals came that nobody asked for")
    further = await sequence.sample(world.like)
    _claim(sequence.ids[begin:] == [*got.ids, *further.ids], "a second call does not go on from the first")
    other, _, same = await world.begun()
    _claim(same.ids == got.ids, "the same greedy call gives other tokens")
    for each in (sequence, other, sequence, other):
        each.close()


async def answers_at_once_without_room(world: World) -> None:
    """No tokens where none may be sampled: a limit of 0, and a sequence that is as long as may be."""
    sequence = world.opened()
    for what in ("a limit of 0", "a full sequence"):
        known = len(sequence.ids)
        got = await sequence.sample(replace(world.like, limit=0 if what == "a limit of 0" else 5))
        right = (got.ids, got.reason, got.cut) == ((), "length", known) and len(sequence.ids) == known
        _claim(right, f"{what} gives {len(got.ids)} tokens and {got.reason}")
        sequence.extend(sequence.ids[-1:] * world.engine.max_length)
    sequence.close()


async def refuses_what_has_no_meaning(world: World) -> None:
    """Bad numbers, an empty prompt, and places where a sequence has no token."""
    sequence = world.opened()
    for name, value in {
        "limit": -1, "temperature": math.nan, "top_p": 1.5, "key": -1, "stop_texts": ("",),
        "watch": Watch(signal="logprob", below=0.0, window=0), "thinking_budget": -1,
    }.items():  # fmt: skip
        asked: Any = {name: value}
        await _refused(sequence.sample(replace(world.like, **asked)), f"{name}={value!r}", BadInput)
    known = list(sequence.ids)
    for place in (-1, len(known) + 1):
        for move in (sequence.cut, sequence.fork):
            await _refused(_call(move, place), f"{move.__name__}({place}) of {len(known)} tokens", BadInput)
    _claim(sequence.ids == known, "a refusal has changed the sequence")
    await _refused(_call(world.engine.open_prompt, "", world.label), "an empty prompt", BadInput)
    sequence.close()


async def refuses_to_go_on_from_nothing(world: World) -> None:
    """An empty sequence is refused until something is put on it."""
    base = world.opened()
    empty = base.fork(0)
    await _refused(empty.sample(world.like), "sampling from an empty sequence", BadInput)
    for each in (empty, base):
        each.close()


async def refuses_what_it_does_not_provide(world: World) -> None:
    """Signals, samplers and budgets that `provides` leaves out are errors, never left out in silence."""
    sequence, provides = world.opened(), world.engine.provides
    asked: dict[Need, dict[str, Any]] = {
        Need.LOGPROBS: {"signals": Signals(logprobs=True)},
        Need.TOP_LOGPROBS: {"signals": Signals(top_logprobs=20)},
        Need.ENTROPY: {"signals": Signals(entropy=True)},
        Need.HIDDEN: {"signals": Signals(hidden=(-1,))},
        Need.LOGITS: {"sampler": lambda scores: scores, "temperature": 1.0},
        Need.BUDGET: {"thinking_budget": 3},
    }
    for need, fields in asked.items():
        if need not in provides:
            await _refused(sequence.sample(replace(world.like, **fields)), need.value)
    sequence.close()


async def forks(world: World) -> None:
    """A copy goes on by itself from any place, and the original does not notice."""
    sequence, begin, got = await world.begun()
    whole = await sequence.fork(begin).sample(replace(world.like, limit=TOKENS))
    _claim(whole.ids == got.ids, "a copy of the prompt goes on otherwise")
    early = sequence.fork(begin + 3)
    _claim(early.ids == sequence.ids[: begin + 3], "a copy does not hold the first tokens")
    await early.sample(replace(world.like, limit=TOKENS - 3))
    _claim(early.ids == sequence.ids, f"a copy after 3 tokens goes on with {world.text(early, begin)!r}")
    later = await sequence.sample(replace(world.like, limit=2))
    _claim(len(sequence.ids) == begin + TOKENS + len(later.ids), "the original does not go on where it stood")
    for each in (sequence, early):
        each.close()


async def cuts(world: World) -> None:
    """After a cut a sequence goes on from there."""
    sequence, begin, got = await world.begun()
    sequence.cut(begin + 2)
    _claim(sequence.ids[begin:] == list(got.ids[:2]), "a cut leaves other tokens")
    await sequence.sample(replace(world.like, limit=TOKENS - 2))
    _claim(sequence.ids[begin:] == list(got.ids), f"after a cut it goes on with {world.text(sequence, begin)!r}")
    sequence.close()


async def takes_injected_tokens(world: World) -> None:
    """What is put on a sequence is read like what was sampled."""
    sequence, begin, got = await world.begun()
    other = world.opened()
    other.extend(list(got.ids[:3]))
    await other.sample(replace(world.like, limit=TOKENS - 3))
    _claim(other.ids == sequence.ids, f"after injected tokens it goes on with {world.text(other, begin)!r}")
    for each in (sequence, other):
        each.close()


async def stops_at_a_token(world: World) -> None:
    """The first of the stop tokens ends the call and stays."""
    sequence, _, got = await world.begun()
    end = next(i for i in got.ids[1:] if i != got.ids[0])
    other = world.opened()
    stopped = await other.sample(replace(world.like, stop_ids=frozenset({end})))
    wanted = got.ids[: got.ids.index(end) + 1]
    _claim(stopped.reason == "token" and stopped.ids == wanted, f"it stopped after {stopped.ids}, not {wanted}")
    for each in (sequence, other):
        each.close()


async def stops_at_a_text(world: World) -> None:
    """A call ends when a stop text appears, and says where that begins."""
    engine = world.engine
    sequence, begin, got = await world.begun()
    text = next(t for n in range(2, TOKENS) if (t := engine.decode(list(got.ids[n - 1 : n + 1])).strip()))
    other = world.opened()
    found = await other.sample(replace(world.like, stop_texts=("no such text", text)))
    _claim((found.reason, found.match) == ("text", text), f"{found.reason} {found.match!r} in place of {text!r}")
    _claim(text in world.text(other, begin), "the stop text is not on the sequence")
    _claim(text not in engine.decode(other.ids[begin : found.cut]), "the cut lies behind the stop text")
    _claim(text in engine.decode(other.ids[found.cut :]), "the cut lies within the stop text")
    _claim(found.ids == got.ids[: len(found.ids)], "a stop text changes what is sampled")
    for each in (sequence, other):
        each.close()


async def gives_logprobs(world: World) -> None:
    """One log-probability for each token."""
    sequence = world.opened()
    got = await sequence.sample(replace(world.like, signals=Signals(logprobs=True)))
    assert got.logprobs is not None
    _claim(got.logprobs.shape == (len(got.ids),), "not one for each token")
    _claim(bool(np.isfinite(got.logprobs).all() and (got.logprobs <= 1e-3).all()), f"they are {got.logprobs}")
    sequence.close()


async def stops_at_a_signal(world: World) -> None:
    """A watch ends the call as soon as its mean is beyond the line, and never before its window is full."""
    sequence, other = world.opened(), world.opened()
    got = await sequence.sample(replace(world.like, watch=Watch(signal="logprob", below=1.0, window=3)))
    _claim((len(got.ids), got.reason) == (3, "signal"), f"{len(got.ids)} tokens, {got.reason}")
    never = await other.sample(replace(world.like, watch=Watch(signal="logprob", below=-_NEVER)))
    _claim(never.reason == "length", f"a line that is never crossed gives {never.reason}")
    for each in (sequence, other):
        each.close()


async def gives_likeliest_tokens(world: World) -> None:
    """The likeliest tokens in their order; greedy sampling takes the first."""
    sequence = world.opened()
    got = await sequence.sample(replace(world.like, signals=Signals(logprobs=True, top_logprobs=3)))
    assert got.top_ids is not None
    assert got.top_logprobs is not None
    assert got.logprobs is not None
    shape = (len(got.ids), 3)
    _claim(got.top_ids.shape == got.top_logprobs.shape == shape, f"shapes {got.top_ids.shape} for {shape}")
    ordered = got.top_logprobs[:, :-1] >= got.top_logprobs[:, 1:]
    _claim(bool(ordered.all()), "they do not come likeliest first")
    _claim(got.top_ids[:, 0].tolist() == list(got.ids), "greedy sampling does not take the likeliest")
    _claim(bool(np.allclose(got.top_logprobs[:, 0], got.logprobs, atol=1e-3)), "its log-probability comes twice")
    sequence.close()


async def gives_entropy(world: World) -> None:
    """The entropy of each distribution, in nats."""
    sequence = world.opened()
    got = await sequence.sample(replace(world.like, signals=Signals(entropy=True)))
    assert got.entropy is not None
    _claim(got.entropy.shape == (len(got.ids),), "not one for each token")
    _claim(bool((got.entropy >= -1e-3).all() and np.isfinite(got.entropy).all()), f"they are {got.entropy}")
    sequence.close()


async def gives_hidden_states(world: World) -> None:
    """The state that predicts each token, by layer."""
    sequence = world.opened()
    got = await sequence.sample(replace(world.like, limit=3, signals=Signals(hidden=(-1,))))
    states = got.hidden[-1]
    _claim(
        states.ndim == 2 and len(states) == len(got.ids) and bool(np.isfinite(states).all()),
        f"they have the shape {states.shape}",
    )
    sequence.close()


async def biases_and_filters(world: World) -> None:
    """A bias, or a sampler that leaves one token, has the second likeliest taken."""
    first, second = world.opened(), world.opened()
    seen = await first.sample(replace(world.like, limit=1, signals=Signals(top_logprobs=2)))
    assert seen.top_ids is not None
    wanted = int(seen.top_ids[0, 1])
    got = await second.sample(replace(world.like, limit=1, bias={wanted: 1e4}))
    _claim(got.ids == (wanted,), f"a bias on token {wanted} gives {got.ids}")

    def alone(scores: Any) -> Any:
        rest = scores - 1e30
        rest[..., wanted] = scores[..., wanted]
        return rest

    third = world.opened()
    got = await third.sample(replace(world.like, limit=1, temperature=1.0, sampler=alone))
    _claim(got.ids == (wanted,), f"a sampler that leaves token {wanted} gives {got.ids}")
    for each in (first, second, third):
        each.close()


async def gives_its_output_matrix(world: World) -> None:
    """The last hidden state times the output matrix is likeliest at the token that greedy sampling takes."""
    matrix = world.engine.unembedding()
    sequence = world.opened()
    got = await sequence.sample(replace(world.like, limit=3, signals=Signals(hidden=(-1,))))
    likeliest = (got.hidden[-1].astype(np.float32) @ matrix.T).argmax(1)
    _claim(likeliest.tolist() == list(got.ids), f"the product says {likeliest.tolist()}, the chain {got.ids}")
    sequence.close()


async def ends_thinking_at_a_budget(world: World) -> None:
    """The engine itself writes the end of thinking after so many tokens."""
    sequence = world.opened()
    begin, close = len(sequence.ids), world.engine.profile.think_close
    await sequence.sample(replace(world.like, limit=3 + TOKENS, thinking_budget=3))
    text = world.text(sequence, begin)
    _claim(close in text, f"no end of thinking in {text!r}")
    thought = len(world.engine.encode(text.partition(close)[0]))
    _claim(thought <= 3 + 1, f"it came after {thought} tokens")  # text may be split otherwise than it was sampled
    sequence.close()


async def runs_side_by_side(world: World) -> None:
    """Many sequences at once give what each gives alone."""
    alone, _, wanted = await world.begun()
    many = [world.opened() for _ in range(5)]
    found = await asyncio.gather(*(one.sample(world.like) for one in many))
    _claim(all(got.ids == wanted.ids for got in found), "a chain depends on those beside it")
    for each in (alone, *many):
        each.close()


async def stops_when_it_is_cancelled(world: World) -> None:
    """A cancelled call leaves on the sequence what `last` says, and the sequence goes on."""
    sequence = world.opened()
    begin = len(sequence.ids)
    task = asyncio.create_task(sequence.sample(replace(world.like, limit=TOKENS)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    told = () if sequence.last is None else sequence.last.ids
    _claim(sequence.ids[begin:] == list(told), f"the sequence holds {sequence.ids[begin:]}, last says {told}")
    if task.cancelled():
        _claim(sequence.last is None or sequence.last.reason == "cancelled", "last does not say that it was cancelled")
    if rest := TOKENS - len(told):
        await sequence.sample(replace(world.like, limit=rest))
    wanted, _, _ = await world.begun()
    _claim(sequence.ids == wanted.ids, "after a cancelled call it goes on otherwise")
    for each in (sequence, wanted):
        each.close()


CHECKS: tuple[tuple[frozenset[Need], Check], ...] = (
    (frozenset(), says_what_it_is),
    (frozenset(), splits_and_joins_text),
    (frozenset({Need.RENDER}), renders),
    (frozenset(), samples_up_to_a_limit),
    (frozenset(), answers_at_once_without_room),
    (frozenset(), refuses_what_has_no_meaning),
    (frozenset(), refuses_to_go_on_from_nothing),
    (frozenset(), refuses_what_it_does_not_provide),
    (frozenset({Need.FORK}), forks),
    (frozenset(), cuts),
    (frozenset({Need.INJECT}), takes_injected_tokens),
    (frozenset(), stops_at_a_token),
    (frozenset(), stops_at_a_text),
    (frozenset({Need.LOGPROBS}), gives_logprobs),
    (frozenset({Need.LOGPROBS}), stops_at_a_signal),
    (frozenset({Need.LOGPROBS, Need.TOP_LOGPROBS}), gives_likeliest_tokens),
    (frozenset({Need.ENTROPY}), gives_entropy),
    (frozenset({Need.HIDDEN}), gives_hidden_states),
    (frozenset({Need.LOGITS, Need.TOP_LOGPROBS}), biases_and_filters),
    (frozenset({Need.HIDDEN, Need.UNEMBEDDING}), gives_its_output_matrix),
    (frozenset({Need.BUDGET}), ends_thinking_at_a_budget),
    (frozenset(), runs_side_by_side),
    (frozenset({Need.ABORT}), stops_when_it_is_cancelled),
)
"""What each check needs, and the check."""
