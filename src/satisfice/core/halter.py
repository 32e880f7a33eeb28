"""When to stop what is repeated: a training, a search, a comparison, an attempt. What a halter is and what it sees.

A halter is a pure function: what it remembers goes in and comes out. Whoever repeats something does, after each time:

    state = halter.init()
    for step in ...:
        state, decision = halter(state, Observation(at=step, metrics={"accuracy": 0.91}, cost=seconds))
        if decision.stop:
            break

State is a JSON object: put it into the checkpoint, and a run that was killed goes on deciding as if nothing had been.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.method import Kind

State = Mapping[str, Any]
"""What a halter remembers: a JSON object, never changed in place."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was measured at one point of a run, and what getting there cost."""

    at: float  # how far the run is: steps, epochs, problems, tokens; grows from one observation to the next
    metrics: Mapping[str, float]
    cost: float = 0.0  # spent since the last observation, measuring included: seconds, tokens or any other unit

    def __post_init__(self) -> None:
        bad = [name for name, value in self.metrics.items() if not math.isfinite(value)]
        if bad or not (math.isfinite(self.at) and math.isfinite(self.cost) and self.cost >= 0):
            what = f"{bad[0]} is {self.metrics[bad[0]]}" if bad else f"at is {self.at} and cost {self.cost}"
            raise BadInput(f"Observation: {what}. Give finite numbers, and a cost of at least 0.")

    def value(self, name: str) -> float:
        """Return a metric for which more is better: `-loss` is the metric `loss` with its sign turned.

        >>> Observation(at=1, metrics={"loss": 0.5}).value("-loss")
        -0.5

        Raises:
            BadInput: no such metric; those that there are are named.
        """
        plain = name.removeprefix("-")
        if plain not in self.metrics:
            raise BadInput(f"there is no metric {plain!r}, only {', '.join(sorted(self.metrics)) or 'none'}.")
        return -self.metrics[plain] if plain != name else self.metrics[plain]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to stop, and why."""

    stop: bool
    why: str = ""  # a clause for people: "no gain in 3 evaluations"
    metrics: Mapping[str, float] = field(default_factory=dict)  # what it was decided on, for logs


GO_ON = Decision(stop=False)


class Halter(Protocol):
    """A method of the halting family: a frozen dataclass that is a pure function of state and observation."""

    card: ClassVar[Card]

    def init(self) -> State:
        """Return the state before the first observation."""

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]: ...


@runtime_checkable
class Comparing(Protocol):
    """A halter that judges a run by others of the same search."""

    def next_run(self, state: State, /) -> State:
        """Return the state with which the next run begins, once the one that was watched has ended."""


HALTER: Kind[Halter] = Kind(
    name="halter",
    protocol=Halter,
    example="patience,pos-learning-curves",
    about="A halter is called with its state and an observation, `halter(state, observation)`, and returns the next "
    "state and whether to stop; `init` gives the first state.",
    battery="satisfice.testing.halters:check_halter",
)


def next_run(halter: Halter, state: State) -> State:
    """Return the state with which the next run of a search begins: a fresh one unless the halter compares runs."""
    return halter.next_run(state) if isinstance(halter, Comparing) else halter.init()


def follow(
    halter: Halter, run: Iterable[Observation], state: State | None = None
) -> tuple[State, list[Observation], Decision]:
    """Watch a run until the halter stops it or it ends.

    Returns the state, what was observed (up to and with the observation that it stopped at), and the last decision.
    """
    state = halter.init() if state is None else state
    seen: list[Observation] = []
    decision = GO_ON
    for observation in run:
        state, decision = halter(state, observation)
        seen.append(observation)
        if decision.stop:
            break
    return state, seen, decision
