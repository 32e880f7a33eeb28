"""Give an attempt up when it looks like a failure, if giving up saves time at all."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.halter import Decision, Observation, State


@dataclass(frozen=True, kw_only=True)
class RobotRestart:
    """Give an attempt up when it looks like a failure, if giving up shortens the time to a success at all.

    A robot tries to fit a part, or a model a chain whose end a verifier judges; a failure is followed by another
    attempt. A predictor looks once on the way. It saves the rest of a failing attempt and throws away good ones that
    it takes for failures, so whether it pays depends on measured numbers and not on how good it sounds:

        E[T] = [p(1-fpr) t_s + (p fpr + (1-p) tpr) t_p + (1-p)(1-tpr) t_f] / [p(1-fpr)] + c (1 / [p(1-fpr)] - 1)

    against t_s + (1-p)/p (t_f + c) without it. The halter stops an attempt when the predictor says so *and* the first
    is smaller. Where looking itself takes time, each attempt takes that much longer: `looking` / [p(1-fpr)] is added.
    The formula is our derivation by renewals, checked by simulation; the paper has a Markov jump process.

    >>> some = RobotRestart(right=0.5, caught=0.8, lost=0.1, until_right=100, until_wrong=200, until_look=50)
    >>> round(some.dropping, 4), some.waiting, some.pays
    (194.4444, 300.0, True)
    """

    card: ClassVar = Card(
        id="robot-restart", system="robot-restart", paper="arXiv:2301.10846", where="closed form of the makespan",
        needs=frozenset(), fidelity="reconstructed",
        ours=("right", "caught", "lost", "until_right", "until_wrong", "until_look", "looking", "restart", "threshold",
              "watch"),
    )  # fmt: skip

    right: Annotated[float, Range(0, 1)] = 0.5  # p: share of attempts that are right if they are left alone
    caught: Annotated[float, Range(0, 1)] = 0.8  # tpr: share of wrong attempts that are given up
    lost: Annotated[float, Range(0, 1)] = 0.1  # fpr: share of right attempts that are given up
    until_right: Annotated[float, Range(0)] = 100.0  # t_s: mean time to the end of an attempt that is right
    until_wrong: Annotated[float, Range(0)] = 100.0  # t_f: mean time to the end of one that is wrong
    until_look: Annotated[float, Range(0)] = 50.0  # t_p: mean time to where the predictor looks
    looking: Annotated[float, Range(0)] = 0.0  # mean time that the look itself takes, over all attempts
    restart: Annotated[float, Range(0)] = 0.0  # c: what beginning again costs, in the same unit of time
    threshold: Annotated[float, Range()] = 0.5  # the predictor says failure at this value and above
    watch: str = "failing"  # metric with the predictor's value

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def waiting(self) -> float:
        """Return the expected time to a right end when every attempt runs to its end: t_s + (1 - p) / p (t_f + c)."""
        if self.right == 0:
            return float("inf")
        return self.until_right + (1 - self.right) / self.right * (self.until_wrong + self.restart)

    @property
    def dropping(self) -> float:
        """Return the expected time to a right end when attempts that look wrong are given up."""
        p, wins = self.right, self.right * (1 - self.lost)
        if wins == 0:
            return float("inf")
        one = wins * self.until_right + (1 - p) * (1 - self.caught) * self.until_wrong
        one += (p * self.lost + (1 - p) * self.caught) * self.until_look + self.looking
        return one / wins + self.restart * (1 / wins - 1)

    @property
    def affordable(self) -> float:
        """Return the false positive rate at which dropping takes as long as waiting; below it, dropping pays."""
        if self.right == 0:
            return 1.0
        p, whole = self.right, self.waiting + self.restart
        missed = (1 - p) * (self.caught * self.until_look + (1 - self.caught) * self.until_wrong)
        room = whole * p - p * self.until_right - missed - self.looking - self.restart
        return room / (p * (self.until_look - self.until_right + whole))

    @property
    def pays(self) -> bool:
        """Return whether giving up what looks wrong shortens the expected time to a right end."""
        return self.dropping < self.waiting

    def init(self) -> State:
        return {}

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        value = observation.value(self.watch)
        stop = self.pays and value >= self.threshold
        why = f"it looks wrong ({value:.3g}), and giving up pays" if stop else ""
        return state, Decision(stop=stop, why=why, metrics={"dropping": self.dropping, "waiting": self.waiting})
