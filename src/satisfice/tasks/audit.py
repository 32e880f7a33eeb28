"""Try the scorer of each reasoning-gym family: does its own reference answer score, and does junk score nothing?

`python -m satisfice.tasks.audit` prints the families that fail, with what was seen, as `unfit.json` keeps them, and
`load_task` refuses those. It takes a core some quarter of an hour; a test (marked slow) audits a few families.
"""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Generator, Iterable
from typing import Any

from satisfice.answers.process import Call, Outcome, Worker
from satisfice.tasks.families import Family, family_names
from satisfice.tasks.load import make_dataset

PROBLEMS = 12  # of each family
LIMIT_S = 120  # processor seconds for a family

JUNK = (
    "", " ", "?", "no idea", "I don't know.", "xyzzy", "None", "null", "nan", "inf", "0/0", "[]", "{}", "()",
    "not {answer}", "anything but {answer}", "{answer} or 7 or 8", "{answer} or {other}", "{other} or {answer}",
    "{other} {answer}", "{question}", "lorem ipsum dolor sit amet",
)  # fmt: skip


def audit(dataset: Any) -> list[str]:
    """Return what is wrong with the scorer of a reasoning-gym data set, as clauses; nothing when it is fit."""
    entries = [dataset[index] for index in range(PROBLEMS)]
    answers = [str(entry["answer"] if entry["answer"] is not None else "") for entry in entries]
    empty = sum(not answer.strip() for answer in answers)
    failing: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    for place, entry in enumerate(entries):
        score = scored(dataset, answers[place], entry)
        failing[score if isinstance(score, str) else f"scores {score:g}"] += not (
            not isinstance(score, str) and score >= 1
        )
        other = next((answer for answer in answers[place + 1 :] + answers if answer != answers[place]), "another")
        for pattern in JUNK:
            junk = filled(pattern, answer=answers[place], other=other, question=entry["question"])
            if junk.strip() == answers[place].strip():
                continue
            got = scored(dataset, junk, entry)
            accepted[pattern] += not isinstance(got, str) and got >= 1
    found = []
    if empty:
        found.append(f"{empty} of {PROBLEMS} reference answers are empty")
    if failing.total():
        found.append(f"{failing.total()} of {PROBLEMS} reference answers do not score ({', '.join(sorted(+failing))})")
    if loose := sorted(+accepted, key=JUNK.index):
        found.append("it accepts " + ", ".join(repr(pattern) for pattern in loose))
    return found


def filled(pattern: str, **values: str) -> str:
    """Return a pattern of `JUNK` with its names replaced; other braces stay.

    >>> filled("not {answer} {}", answer="5")
    'not 5 {}'
    """
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], pattern)


def scored(dataset: Any, answer: str, entry: Any) -> float | str:
    """Return a score, or the name of the error that was raised instead."""
    try:
        return float(dataset.score_answer(answer.strip(), entry))
    except Exception as error:  # noqa: BLE001  (whatever a scorer trips over)
        return type(error).__name__


def unfit(names: Iterable[str]) -> dict[str, str]:
    """Return the families among these that are unfit, with the reasons."""
    # Each process orders its sets in another way: what depends on that is seen from two of them.
    first, second = (Worker(_load, limit_s=LIMIT_S, patience_s=5 * LIMIT_S) for _ in range(2))
    found: dict[str, str] = {}
    try:
        for name in names:
            seen, again = first.run(_asked(_audited, name)), second.run(_asked(_digest, name))
            if seen.failure or again.failure:
                found[name] = f"its problems cannot be made or scored within {LIMIT_S} s"
            elif reasons := [*seen.value[0], *(["it makes other problems each time"] * (seen.value[1] != again.value))]:
                found[name] = "; ".join(reasons)
    finally:
        first.close()
        second.close()
    return found


def _load() -> None:
    import reasoning_gym  # noqa: F401


def _asked(function: Any, *args: Any) -> Generator[Call, Outcome, Outcome]:
    return (yield function, args)


def _made(name: str) -> Any:
    return make_dataset(Family(name=name, dataset=name.replace("-", "_")), 0)


def _audited(name: str) -> tuple[list[str], str]:
    return audit(_made(name)), _digest(name)


def _digest(name: str) -> str:
    dataset, digest = _made(name), hashlib.sha256()
    for index in range(PROBLEMS):
        digest.update(repr((dataset[index]["question"], str(dataset[index]["answer"]))).encode())
    return digest.hexdigest()


def main() -> None:
    """Print the families that are unfit, with the reasons."""
    sys.stdout.write(json.dumps(unfit(sys.argv[1:] or family_names()), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    from satisfice.tasks import audit as _module  # under its own name, by which the processes know its functions

    _module.main()
