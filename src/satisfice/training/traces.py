"""From recordings on disk to the chains that builders take."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from satisfice.core.errors import BadInput
from satisfice.core.problem import Verdict
from satisfice.core.recorded import RecordedChain, RecordedTokens, Reply
from satisfice.core.trace import Look, Trace
from satisfice.recordings.recording import Recording


def read_traces(recordings: Sequence[Recording]) -> list[Trace]:
    """Return the chains of several recordings; which one a chain is from is its `source`.

    Raises:
        BadInput: a recording is empty, or they are of models that write their thinking in different ways.
    """
    first = recordings[0]
    for other in recordings:
        if not len(other):
            raise BadInput(f"run: {other.folder} holds no chains. Record some first, or let that recording finish.")
        if other.profile != first.profile:
            raise BadInput(
                f"run: {first.folder} and {other.folder} are of models that write their thinking in different ways "
                f"({first.profile.name}, {other.profile.name}), so their chains cannot be compared."
            )
        same = other.pieces.keys() & first.pieces.keys()
        if any(other.pieces[i] != first.pieces[i] for i in same):
            raise BadInput(f"run: {first.folder} and {other.folder} are of models with different tokenizers.")
    return [
        trace_of(recording.chain(row), recording, source)
        for source, recording in enumerate(recordings)
        for row in recording.rows.values()
    ]


def trace_of(chain: RecordedChain, recording: Recording, source: int = 0) -> Trace:
    """Return a recorded chain as builders see it."""
    ids = tuple(chain.tokens.ids.tolist())
    ends = recording.end_ids
    pieces = tuple("" if i in ends else piece for i, piece in zip(ids, chain.pieces, strict=True))
    looks = (
        Look(
            at=point.at, why=frozenset(point.why), answer=reply.answer, verdict=reply.verdict,
            ids=tuple(reply.tokens.ids.tolist()), text=reply.text, complete=reply.complete,
            certainty=_certainty(point.replies), logprobs=_logprobs(reply.tokens),
        )
        for point in chain.checkpoints
        if (reply := point.replies.get("answer")) is not None and "limit" not in point.why
    )  # fmt: skip
    trace = Trace(
        problem=chain.problem, prompt=chain.prompt, ids=ids, pieces=pieces,
        thinking=chain.thinking, ended=chain.ended, answer=chain.answer, verdict=chain.verdict, looks=tuple(looks),
        seed=chain.seed, name=chain.name, source=source, profile=recording.profile, logprobs=_logprobs(chain.tokens),
    )  # fmt: skip
    return replace(trace, stated=tuple(_stated(trace, recording)))


def _stated(trace: Trace, recording: Recording) -> Iterator[tuple[int, Verdict]]:
    """Yield where the thinking states an answer, with its verdict; recordings hold those of every answer stated."""
    pattern, task = recording.profile.stated, trace.problem.task
    for hit in pattern.finditer(trace.text(0, trace.thinking)) if pattern is not None else ():
        verdict = recording.verdicts.get((task, trace.problem.id, hit[1]), Verdict.UNKNOWN)
        yield trace.tokens_over(*hit.span())[1], verdict


def _certainty(replies: Mapping[str, Reply]) -> float | None:
    """Return the geometric mean probability of a trial answer's tokens."""
    trial = replies.get("trial")
    found = None if trial is None else trial.tokens.logprobs
    return None if found is None or not len(found) else math.exp(float(found.mean()))


def _logprobs(tokens: RecordedTokens) -> tuple[float, ...] | None:
    found = tokens.logprobs
    return None if found is None else tuple(found.tolist())


def model_of(recordings: Sequence[Recording]) -> tuple[str, str | None]:
    """Return the model that wrote the first recording, by name, and the mark of its weights."""
    config = recordings[0].config
    return str(config["model"]), config.get("weights")


def folders(names: Sequence[Path]) -> list[Recording]:
    """Read several recordings.

    Raises:
        BadInput: one is named twice, is none, or a file of it is not what it should be.
    """
    if len({path.resolve() for path in names}) < len(names):
        raise BadInput("run: a recording is named twice. Name each once: the long model's first, then the short one's.")
    return [Recording(path) for path in names]
