"""Load a task: a name becomes problems and a verifier, in splits that cannot share a question."""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.problem import Problem, Verdict
from satisfice.tasks.families import COMPARED, Family, parse_name
from satisfice.tasks.jsonl import read_jsonl

Split = Literal["train", "calibration", "eval"]
SPLITS: tuple[Split, ...] = get_args(Split)

DEFAULT_LIMIT = 2_000  # what a claim on a generated task needs
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
    calibration 1/4, eval 1/4), so no two splits share a question, whatever the seed or the tier. A JSONL file is one
    split, `eval`.

    Args:
        name: `family:tier`, `family`, or the path of a `.jsonl` file.
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
    if name.endswith(".jsonl"):
        if split != "eval":
            raise BadInput(
                f"split is {split!r}, and the file {name!r} is all one split, 'eval'. Give another file for {split}."
            )
        return Task(name=name, split=split, problems=read_jsonl(name)[:limit], _score=_math_verdict)
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


def split_of(question: str) -> Split:
    """The one split that a question can ever be in."""
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
