"""Recorded chains for tests, made of text: no model, no folder."""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import R1, Profile
from satisfice.core.span import Ended
from satisfice.core.trace import Look, Trace

PROFILE = replace(
    R1, name="lines", cues=("Wait", "Check"), step="\n", close_thinking="</think>", skip_thinking="</think>",
    answer_form="plain", candidate_answer=r"^so -?\d+$",
)  # fmt: skip
"""A model that writes a step on a line, says "so 4" where it comes to an answer, and begins second looks with a cue."""

END = 1  # the token that ends the turn
VERDICTS = {"r": Verdict.RIGHT, "w": Verdict.WRONG, "u": Verdict.UNKNOWN}


def trace(
    *stretches: str,
    verdicts: str = "",
    problem: str = "p0",
    task: str = "sums:easy@1",
    name: str = "0",
    source: int = 0,
    ended: Ended = "model",
    certainty: Sequence[float | None] = (),
    absence: Sequence[tuple[int, int, float]] | None = None,
    profile: Profile = PROFILE,
) -> Trace:
    """Return a chain whose thinking is `stretches`, with a look at its start and before each but the first of them.

    `verdicts` has a letter for each stretch, of the answer that the model would give behind it: r, w or u (unknown);
    by default all are right. The answer is 4 where it is right, else 5. A token is a word with what follows it up to
    the next. `certainty` is that of the looks before stretches.

    >>> chain = trace("2+2=4\\nso 4\\n", "Wait, 4-2=2 ok\\n", verdicts="wr")
    >>> [(look.at, look.answer, look.verdict.value) for look in chain.looks], len(chain.ids)
    ([(0, '5', 'wrong'), (3, '5', 'wrong')], 9)
    """
    verdicts = verdicts or "r" * len(stretches)
    pieces: list[str] = []
    looks = [_look(0, "start", "w")]
    for i, (text, verdict) in enumerate(zip(stretches, verdicts, strict=True)):
        if i:
            sure = certainty[i - 1] if i - 1 < len(certainty) else None
            looks.append(_look(len(pieces), "cue", verdicts[i - 1], sure))
        pieces += re.findall(r"\S+\s*|\s+", text)
        last = verdict
    thinking, answer = len(pieces), _answer(last)
    if ended == "model":
        pieces += ["</think>", answer, ""]
    return Trace(
        problem=Problem(id=problem, task=task, question=f"What is {problem}?", answer="4"), prompt=(2, 3),
        ids=tuple(map(_token, pieces)), pieces=tuple(pieces), thinking=thinking, ended=ended,
        answer=answer if ended == "model" else None, verdict=VERDICTS[last] if ended == "model" else Verdict.WRONG,
        looks=tuple(looks), stated=tuple(_stated(pieces[:thinking])), name=name, source=source, profile=profile,
        absence=None if absence is None else tuple(absence),
    )  # fmt: skip


def random_traces(seed: int, *, problems: int = 4, chains: int = 3, sources: int = 2) -> list[Trace]:
    """Return chains of several problems from several models, in a random order; the same for the same arguments.

    Some never come to an answer, some are cut off, some state one answer again and again.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number in range(problems):
        for source in range(sources):
            for name in range(chains):
                n = int(rng.integers(1, 7))
                first = "".join(
                    f"{a}+{b}={a + b}\n" for a, b in rng.integers(1, 9, (int(rng.integers(1, 4)), 2)).tolist()
                )
                stretches = [
                    f"{first}so 4\n",
                    *(
                        f"{cue}, back {k}\n" * int(rng.integers(1, 3))
                        for k, cue in enumerate(rng.choice(["Wait", "Check"], n - 1))
                    ),
                ]
                chain = trace(
                    *stretches, verdicts="".join(rng.choice(list("rrwu"), n)), problem=f"p{number}", name=str(name),
                    source=source, ended="limit" if rng.random() < 0.1 else "model",
                    certainty=rng.random(n - 1).tolist(),
                )  # fmt: skip
                units = [*chain.steps, *((one.begin, one.end) for one in chain.solutions)]
                found.append(
                    replace(chain, absence=tuple((b, e, float(rng.normal())) for b, e in dict.fromkeys(units)))
                )
    return [found[i] for i in rng.permutation(len(found))]


def _look(at: int, why: str, verdict: str, certainty: float | None = None) -> Look:
    answer = _answer(verdict)
    return Look(
        at=at, why=frozenset({why}), answer=answer, verdict=VERDICTS[verdict], ids=(_token(answer), END), text=answer,
        complete=True, certainty=certainty,
    )  # fmt: skip


def _stated(pieces: Sequence[str]) -> Iterator[tuple[int, Verdict]]:
    for at in range(1, len(pieces)):
        if pieces[at - 1] == "so " and (at == 1 or pieces[at - 2].endswith("\n")):
            yield at + 1, VERDICTS["r" if pieces[at].strip() == "4" else "w"]


def _answer(verdict: str) -> str:
    return "4" if verdict == "r" else "5"


def _token(piece: str) -> int:
    return END if not piece else 10 + zlib.crc32(piece.encode()) % 10_000
