"""Load a task: a name becomes problems and a verifier, in splits that cannot share a question."""

import dataclasses
import hashlib
import itertools
import math
import os.path
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.problem import Problem, Verdict
from satisfice.tasks.families import COMPARED, Family, parse_name
from satisfice.tasks.jsonl import read_jsonl

Split = Literal["train", "calibration", "eval"]
SPLITS: tuple[Split, ...] = get_args(Split)

DEFAULT_LIMIT = 2_000  # what a claim on a generated task needs
MOST = 100_000  # problems of a generated task: half a minute
SEED_STRIDE = 100_000_000  # reasoning-gym's item i of seed s is item i-1 of seed s+1: keep seeds far apart
DRAWN_AT_ONCE = {"gsm_symbolic": 1_000_000}  # it draws a list as long as itself when it is made; a prefix is the same
PATIENCE = 20_000  # questions in a row that bring nothing new, after which a family counts as exhausted


@dataclass(frozen=True, kw_only=True)
class Task:
    """Problems of one kind and split, with the verifier that scores an answer to them."""

    name: str  # canonical and versioned: `chain-sum:hard@1`
    split: Split
    problems: tuple[Problem, ...]
    _score: Callable[[Problem, str], Verdict] = field(repr=False)

    @property
    def digest(self) -> str:
        """A mark of the questions and answers, so that a changed file is not taken for the one before."""
        digest = hashlib.sha256()
        for problem in self.problems:
            digest.update(repr((problem.id, problem.question, problem.answer)).encode())
        return digest.hexdigest()[:16]

    def verify(self, problem: Problem, answer_text: str) -> Verdict:
        """Return whether an answer is right; never raise.

        An answer on which the scorer fails is wrong where the reference of the problem is right, else `UNKNOWN`.
        """
        try:
            return self._score(problem, answer_text)
        except Exception:  # noqa: BLE001  (whatever a scorer trips over, the run goes on)
            return Verdict.WRONG if self._reference_is_right(problem) else Verdict.UNKNOWN

    def _reference_is_right(self, problem: Problem) -> bool:
        try:
            return self._score(problem, problem.answer) is Verdict.RIGHT
        except Exception:  # noqa: BLE001  (as above)
            return False


def load_task(name: str, split: Split = "eval", limit: int | None = None, seed: int = 0) -> Task:
    """Get the problems of a task, and the verifier that scores them.

    Problems are unique by question, and their order depends on name, split and seed alone: a smaller `limit` gives a
    prefix of a larger one. Which split a generated question belongs to is decided by the hash of its text (train 2/4,
    calibration 1/4, eval 1/4), so no two splits share a question, whatever the seed or the tier.

    A JSONL file says itself which split its problems are in: by a field `split` in every row, or in its name,
    `mine.jsonl?split=hash` (by the hash of the question, as above) or `mine.jsonl?split=train` (all of it). Without
    either it is all `eval`.

    Args:
        name: `family:tier`, `family`, or the path of a `.jsonl` file with or without `?split=...`.
        split: `train`, `calibration` or `eval`.
        limit: how many problems; by default 2,000 of a generated task and all of a file.
        seed: a generated task of another seed has other problems.

    Raises:
        UnknownName: no such task, tier or split; the nearest names are suggested.
        BadInput: a wrong limit or seed, a file that cannot be read, or a family that has fewer problems than asked.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if limit is not None and limit < 1:
        raise BadInput(f"limit is {limit}, and a task needs at least one problem. Leave it out for the default.")
    path, options = (name, "") if name.endswith(".jsonl") else (name.partition("?")[0], name.partition("?")[2])
    if path.endswith(".jsonl"):
        return _file_task(path, options, split, limit)
    if limit is not None and limit > MOST:
        raise BadInput(f"limit is {limit:,}, and a generated task has at most {MOST:,} problems. Ask for fewer.")
    if not 0 <= seed < 40:
        raise BadInput(f"seed is {seed}, and tasks have seeds 0 to 39. Choose one of those.")
    family = parse_name(name)
    dataset = make_dataset(family, seed)
    found = itertools.islice(_unique(family, dataset, split), limit or DEFAULT_LIMIT)
    problems = tuple(found)
    if not problems or (limit is not None and len(problems) < limit):
        raise BadInput(
            f"limit is {limit or DEFAULT_LIMIT}, and {family.name!r} has only {len(problems)} different problems in its"
            f" {split} split. Ask for at most that many, or for another task."
        )
    compared = family.dataset.replace("_", "-") in COMPARED
    return Task(
        name=family.name, split=split, problems=problems, _score=_math_verdict if compared else _GymVerdict(dataset)
    )


def load_tasks(names: Iterable[str], split: Split = "eval", limit: int | None = None) -> tuple[Task, ...]:
    """Load several tasks as `load_task` does, and refuse those that are one and the same.

    Raises:
        BadInput: two names stand for the same problems: a file by two paths, a copy of it, a tier with its version.
    """
    found: dict[str, tuple[str, Task]] = {}  # by what is in it
    for name in names:
        task = load_task(name, split=split, limit=limit)
        if task.digest in found:
            other = found[task.digest][0]
            raise BadInput(f"tasks: {other!r} and {name!r} have the same problems. Tasks are each named once.")
        found[task.digest] = name, task
    return tuple(task for _, task in found.values())


def _file_task(path: str, options: str, split: Split, limit: int | None) -> Task:
    key, _, stated = options.partition("=")
    if options and key != "split":
        raise UnknownName(f"option of {path}", key, ["split"])
    if options and stated not in (*SPLITS, "hash"):
        raise UnknownName(f"split of {path}", stated, [*SPLITS, "hash"])
    path = os.path.normpath(path)  # ./mine.jsonl and mine.jsonl are one task
    problems = read_jsonl(path)
    here = tuple(problem for problem in problems if _stated_split(problem, stated, problems) == split)
    if not here:
        raise BadInput(
            f"{path}: none of its {len(problems)} problems is in the split {split!r}. Say in which split each is: "
            f"by a field 'split' in every row ({', '.join(SPLITS)}), or by {path}?split=hash (train 2/4, calibration "
            f"1/4, eval 1/4), or by {path}?split={split} (all of them)."
        )
    name = f"{path}?{options}" if options else path
    if options:
        here = tuple(dataclasses.replace(problem, task=name) for problem in here)
    return Task(name=name, split=split, problems=here[:limit], _score=_math_verdict)


def _stated_split(problem: Problem, stated: str, problems: tuple[Problem, ...]) -> str:
    """Return the split that a problem of a file is in, by the name of its task, by its row, or `eval`."""
    if stated == "hash":
        return split_of(problem.question)
    if stated or "split" not in problems[0].metadata:
        if not stated and "split" in problem.metadata:
            raise BadInput(f"{problem.task}: problem {problem.id!r} has a 'split' and others have none. Give all one.")
        return stated or "eval"
    own = problem.metadata.get("split")
    if own not in SPLITS:
        raise BadInput(
            f"{problem.task}: problem {problem.id!r} has the split {own!r}; it must be one of {', '.join(SPLITS)} in "
            f"every row. To leave the field unread, state one split for the file: {problem.task}?split=eval."
        )
    return str(own)


def split_of(question: str) -> Split:
    """Return the one split that a question can ever be in."""
    return ("train", "train", "calibration", "eval")[hashlib.sha256(question.encode()).digest()[-1] % 4]


def make_dataset(family: Family, seed: int) -> Any:
    """Return the reasoning-gym data set of a family, as long as its seed allows."""
    import reasoning_gym

    size = DRAWN_AT_ONCE.get(family.dataset, SEED_STRIDE)
    return reasoning_gym.create_dataset(family.dataset, seed=seed * SEED_STRIDE, size=size, **family.config)


def _unique(family: Family, dataset: Any, split: Split) -> Iterator[Problem]:
    seen: set[str] = set()
    barren = 0
    for index in range(len(dataset)):
        if barren >= PATIENCE:
            return
        entry = dataset[index]
        question = entry["question"]
        barren += 1
        if question in seen or split_of(question) != split:
            continue
        seen.add(question)
        barren = 0
        yield Problem(
            id=hashlib.sha256(question.encode()).hexdigest()[:16],
            task=family.name,
            question=question,
            answer=str(entry["answer"] if entry["answer"] is not None else ""),
            metadata={"index": index},
        )


@dataclass(frozen=True)
class _GymVerdict:
    """reasoning-gym's own scorer, on the entry that the problem came from.

    The entry is made again from its index: what the scorer needs is sometimes no JSON (dates, tuples), an index always
    is.
    """

    dataset: Any

    def __call__(self, problem: Problem, answer_text: str) -> Verdict:
        entry = self.dataset[problem.metadata["index"]]
        if entry["question"] != problem.question:  # a problem of another seed, tier or release
            return Verdict.UNKNOWN
        score = float(self.dataset.score_answer(answer_text.strip(), entry))
        if math.isnan(score):
            raise ValueError("the score is no number")
        return Verdict.RIGHT if score >= 1.0 else Verdict.WRONG


def _math_verdict(problem: Problem, answer_text: str) -> Verdict:
    from satisfice.answers.math import verify

    return verify(answer_text, problem.answer)
