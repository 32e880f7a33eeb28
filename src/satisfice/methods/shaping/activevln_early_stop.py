"""Stop rollouts that have taken far longer than a solution is known to take."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np

from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.fields import Range
from satisfice.core.rollouts import PROMPT, Groups, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class ActivevlnEarlyStop(ShapesReward):
    """Stop rollouts that have taken far longer than a solution is known to take.

        cap(q) = min(tolerance L_q, longest)

    L_q is the shortest length of a right rollout of the prompt seen so far (or their median, as `reference` says);
    prompts without one have the longest cap. A rollout that is stopped stays in its group with the reward that it has,
    which is none. In tasks of several steps the same rule counts actions: `step_budget` and `episode`.

    Reference code: https://github.com/arvillion/ActiveVLN (Apache-2.0), for navigation, where L_q is the length of a
    given path; taking it from the policy's own rollouts, and the budget to tokens, is ours. The code's warm-up, which
    sets the agent down close to the goal, is off by default there and is `warm_up_length` here. State: the lengths, by
    name of the prompt.
    """

    card: ClassVar = Card(
        id="activevln-early-stop",
        paper="arXiv:2509.12618",
        where="official code",
        needs=frozenset(),
        fidelity="reconstructed",
        system="activevln",
        requires=frozenset({PROMPT}),
        ours=("longest", "reference", "memory", "advantage"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    tolerance: Annotated[float, Range(1)] = 2.0  # in units of the known length
    longest: Annotated[int, Range(1)] = 8192  # tokens
    reference: Literal["shortest", "median"] = "median"  # of the lengths of right rollouts
    memory: Annotated[int, Range(1)] = 16  # right rollouts of a prompt that the median is taken over, the latest
    advantage: Shaper = Grpo()

    def init(self) -> State:
        return {"lengths": {}}

    def update(self, state: State, rollouts: Rollouts) -> State:
        names, table = rollouts.prompts(), dict(state["lengths"])
        for rows in Groups(names):
            right = sorted(rollouts.length[rows][rollouts.correct[rows]].tolist())
            if right:
                table[names[rows[0]]] = [*table.get(names[rows[0]], []), *right][-self.memory :]
        return {"lengths": table}

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.array([self._cap(state["lengths"].get(name, [])) for name in prompts], dtype=np.int64)

    def _cap(self, lengths: Sequence[int]) -> int:
        if not lengths:
            return self.longest
        known = float(min(lengths) if self.reference == "shortest" else np.median(lengths))
        return max(1, step_budget(known, self.tolerance, self.longest))

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        caps = self.cap(state or self.init(), rollouts.prompts())
        stopped = rollouts.truncated & (caps < self.longest)
        return self.advantage(rollouts).noted(cap=float(caps.mean()), stopped=float(stopped.mean()))


def step_budget(known: float, tolerance: float = 2.0, longest: int = 120) -> int:
    """Steps that an episode may take where a solution of `known` steps exists.

    >>> step_budget(17), step_budget(80), step_budget(3, 2.5)
    (34, 120, 7)
    """
    return int(min(tolerance * known, longest))


def warm_up_length(known: int, step: int, steps: int, *, least: int = 2, power: float = 2.0) -> float:
    """Return how many actions are left to the agent when it is set down close to the goal, at a step of its training.

    From `least`, or all there are if those are fewer, to all of them after `steps` steps. The code takes whole actions,
    rounded down, draws a random share instead on request, and starts some episodes from the beginning.

    >>> [round(warm_up_length(20, k, 100), 2) for k in (1, 10, 100, 101)], warm_up_length(1, 1, 100)
    ([2.0, 6.48, 19.92, 20.0], 1.0)
    """
    if step > steps:
        return float(known)
    fewest = min(least, known)
    share: float = (math.log(max(step, 1)) / math.log(steps + 1)) ** power
    return fewest + (known - fewest) * share


class Environment(Protocol):
    """A task of several steps: it is looked at, acted upon, and says when it is over."""

    def observe(self) -> str:
        """Return what the agent is told now."""
        ...

    def act(self, action: str) -> bool:
        """Do it. True when the task is solved."""
        ...


@dataclass(frozen=True, kw_only=True)
class Episode:
    """How a rollout of several steps went."""

    solved: bool
    stopped: bool  # the budget ended it
    actions: tuple[str, ...]
    ends: tuple[int, ...]  # tokens of the chain after each action


async def episode(
    chain: Chain,
    environment: Environment,
    *,
    budget: int,
    until: str = "\n",
    tokens: int = 8,
    act: Callable[[Chain], Awaitable[str]] | None = None,
) -> Episode:
    """Let a chain act in an environment for at most `budget` steps: observations are put in, actions are sampled.

    An action is what the model says up to `until`, which the next observation begins with; it has at most `tokens`
    tokens. `act` may make it in another way.
    """
    actions: list[str] = []
    ends: list[int] = []
    solved = False
    while not solved and len(actions) < budget:
        chain.inject((until if actions else "") + environment.observe())
        if act is None:
            await chain.sample(tokens, until=(until,))
            action = chain.last_text
        else:
            action = await act(chain)
        actions.append(action.strip())
        ends.append(len(chain))
        solved = environment.act(actions[-1])
    return Episode(solved=solved, stopped=not solved, actions=tuple(actions), ends=tuple(ends))
