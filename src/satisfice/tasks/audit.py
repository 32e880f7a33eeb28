"""Try the scorer of each reasoning-gym family: does its own reference answer score, and does junk score nothing?

`python -m satisfice.tasks.audit` prints the families that fail, with what was seen, as `unfit.json` keeps them. A test
(marked slow) makes the list again and compares.
"""

import json
import multiprocessing
import re
import sys
from collections import Counter
from typing import Any

PROBLEMS = 12  # of each family
LIMIT_S = 60  # for a family, on the clock

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


def _audit_one(name: str, pipe: Any) -> None:
    import reasoning_gym

    pipe.send(audit(reasoning_gym.create_dataset(name, seed=0, size=PROBLEMS)))


def audit_family(name: str) -> list[str]:
    """Return `audit` of a family in a process of its own, which may hang or crash."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_audit_one, args=(name, there), daemon=True)
    process.start()
    there.close()
    try:
        return list(here.recv()) if here.poll(LIMIT_S) else [f"no verdicts within {LIMIT_S} s"]
    except EOFError:
        return ["it cannot be made, or its scorer ends the process"]
    finally:
        process.kill()
        process.join()


def main() -> None:
    """Print the families that are unfit, with the reasons."""
    from satisfice.tasks.families import family_names

    unfit = {}
    for name in sys.argv[1:] or family_names():
        if found := audit_family(name.replace("-", "_")):
            unfit[name] = "; ".join(found)
    sys.stdout.write(json.dumps(unfit, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
