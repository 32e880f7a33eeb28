"""Who says whether an answer is right in verl: the verifier of the problem's task, or a function of the user's own.

verl hands on the row of the data that a prompt came from. Rows that `prepare.py` writes hold a problem of ours; any
other row must have `data_source`, `reward_model.ground_truth` and, as verl itself wants, a prompt.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Self

from satisfice.core.errors import BadInput, Unfit
from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import Profile
from satisfice.core.shaper import Shaper, State, asking, with_request
from satisfice.tasks import Task, load_task

Score = Callable[..., Any]
"""verl's form of a reward function: keywords data_source, solution_str, ground_truth, extra_info; a number, or a
mapping with `score` and columns. Right is a score above one half; a column of another name is handed to the shaper."""


def problem_of(row: Mapping[str, Any]) -> Problem:
    """Return the problem in a row of the data."""
    info = dict(row.get("extra_info") or {})
    try:
        answer, messages = row["reward_model"]["ground_truth"], list(row["raw_prompt"])
    except (KeyError, TypeError) as error:
        raise BadInput(f"a row of the data has no {error}. verl's form has reward_model.ground_truth.") from error
    question = str(messages[-1]["content"])
    return Problem(
        id=str(info.pop("id", None) or question),
        task=str(row.get("data_source", "")),
        question=question,
        answer=str(answer),
        metadata=info,
    )


def stated(shaper: Shaper, state: State, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `raw_prompt` and `extra_info` of a row with what the shaper wants its prompt to state; {}: nothing.

    Raises:
        Unfit: the prompt's last message is no text, so nothing can be put behind it.
    """
    asked = asking(shaper)
    if asked is None:
        return {}
    messages = [dict(message) for message in row["raw_prompt"]]
    if not isinstance(messages[-1].get("content"), str):
        raise Unfit(
            f"{shaper.card.id} states {asked.asks} in the prompt, and a prompt of the data does not end in text."
        )
    problem = with_request(shaper, state, problem_of(row))
    info = {**(row.get("extra_info") or {}), "id": problem.id, asked.asks: problem.metadata[asked.asks]}
    return {"raw_prompt": [*messages[:-1], {**messages[-1], "content": problem.question}], "extra_info": info}


class RowJudge:
    """Judges answers to problems that come out of verl's data."""

    def __init__(self, profile: Profile, score: Score | None = None) -> None:
        self._profile, self._score = profile, score

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        """Say whether an answer is right. No answer is wrong."""
        if answer is None:
            return Verdict.WRONG
        if self._score is not None:
            return (await self.scored(problem, self._profile.written(answer)))[0]
        return await asyncio.to_thread(_verified, problem, answer)

    async def scored(self, problem: Problem, text: str) -> tuple[Verdict, dict[str, float]]:
        """Return what the user's own function says of a whole output: the verdict, and columns for the shaper."""
        assert self._score is not None
        asked = {
            "data_source": problem.task, "solution_str": text, "ground_truth": problem.answer,
            "extra_info": dict(problem.metadata),
        }  # fmt: skip
        try:
            if inspect.iscoroutinefunction(self._score):
                found = await self._score(**asked)
            else:
                found = await asyncio.to_thread(self._score, **asked)
        except Exception:  # noqa: BLE001  (whatever a scorer trips over, the run goes on and the rollout is left out)
            return Verdict.UNKNOWN, {}
        more = dict(found) if isinstance(found, Mapping) else {"score": found}
        verdict = Verdict.RIGHT if float(more.pop("score")) > 0.5 else Verdict.WRONG
        return verdict, {name: float(value) for name, value in more.items() if isinstance(value, int | float)}

    @property
    def has_score(self) -> bool:
        """Whether the user's own function judges."""
        return self._score is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None: ...


def _verified(problem: Problem, answer: str) -> Verdict:
    task = _task(problem.task, str(problem.metadata.get("split", "train")))
    if task is not None:
        return task.verify(problem, answer)
    from satisfice.answers.math import verify

    try:
        return verify(answer, problem.answer)
    except Exception:  # noqa: BLE001  (as above)
        return Verdict.UNKNOWN


@lru_cache(64)
def _task(name: str, split: Any) -> Task | None:
    """The verifier of a task of ours; None for data from elsewhere, whose answers are compared as mathematics."""
    try:
        return load_task(name, split=split, limit=1)  # its verifier makes any problem again from its number
    except BadInput:
        return None
