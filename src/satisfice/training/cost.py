"""What a step of generate-bound training costs: a small model of where the seconds go, and what control saves of them.

A step generates a batch of rollouts, reads them again under the policy (forward), and learns from them (forward and
backward). Generation goes one token at a time for all rollouts that are still running, so it lasts as long as its
longest rollout, and its last steps run nearly empty:

    generate = sum over decode steps of (base + row * rollouts still running)
    train    = fixed + token * tokens that pass through the model

`base` is what a decode step costs however few rows it has (reading the weights once), `row` what each row adds; both
grow with the model. The lengths decide the rest: their sum is paid for in `row`, their maximum in `base`. Truncation,
segments and early exit change lengths or what waits for whom, and so can be compared before anything is trained.
Seconds and tokens everywhere; lengths are those of single rollouts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.errors import BadInput
from satisfice.core.rollouts import Floats, Ints
from satisfice.training.segments import Growing, Underway, grow_until


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a model costs on a machine."""

    base: float  # seconds of a decode step, whatever its rows
    row: float  # seconds that each running rollout adds to a decode step
    token: float  # seconds of training a token: forward, forward again, backward
    fixed: float = 0.0  # seconds of a step that no token pays for: optimiser, weights into the engine
    slots: int = 1 << 30  # rollouts that run at once; more wait for a place

    def __post_init__(self) -> None:
        for name in ("base", "row", "token", "fixed"):
            if not getattr(self, name) >= 0:
                raise BadInput(f"Machine: {name} must be 0 seconds or more, got {getattr(self, name)}.")
        if self.slots < 1:
            raise BadInput(f"Machine: slots must be at least 1, got {self.slots}.")

    def scaled(self, parameters: float, machines: int = 1, efficiency: float = 1.0) -> "Machine":
        """Return the costs for a model of so many times the parameters, on so many machines that share each batch.

        A decode step reads every weight once and a token passes through every weight, so all but `fixed` grows in
        proportion; several machines share rows and tokens, `efficiency` saying how well, and each reads all weights.
        """
        share = 1 / (machines * efficiency) if machines > 1 else 1.0
        return replace(
            self, base=self.base * parameters, row=self.row * parameters * share,
            token=self.token * parameters * share, slots=self.slots * machines,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step costs."""

    generate: float  # seconds
    train: float  # seconds
    sampled: int  # tokens
    trained: int  # tokens that pass through the model in training
    ended: int  # rollouts that came to their end
    occupancy: float  # mean share of the rollouts that run in a decode step; the rest has ended and waits

    @property
    def total(self) -> float:
        """Seconds."""
        return self.generate + self.train


def running(lengths: ArrayLike, slots: int = 1 << 30) -> Ints:
    """Return how many rollouts run in each decode step; those beyond the slots begin when one ends, [steps].

    >>> running([1, 3, 2]), running([1, 3, 2], slots=2)
    (array([3, 2, 1]), array([2, 2, 2]))
    """
    n = np.asarray(lengths, dtype=np.int64)
    free = np.zeros(min(slots, max(len(n), 1)), dtype=np.int64)  # when each slot is free
    begins = np.zeros(len(n), dtype=np.int64)
    for i, length in enumerate(n):
        slot = int(free.argmin())
        begins[i] = free[slot]
        free[slot] += length
    steps = np.zeros(int(free.max(initial=0)) + 1, dtype=np.int64)
    np.add.at(steps, begins, 1)
    np.add.at(steps, begins + n, -1)
    return np.cumsum(steps)[:-1]


def step_cost(machine: Machine, lengths: ArrayLike, *, trained: int | None = None) -> Step:
    """A step whose rollouts have these lengths; `trained` is how many tokens pass through training, by default all."""
    n = np.asarray(lengths, dtype=np.int64)
    rows = running(n, machine.slots)
    sampled = int(n.sum())
    tokens = sampled if trained is None else trained
    most = min(len(n), machine.slots)
    return Step(
        generate=float(machine.base * len(rows) + machine.row * sampled),
        train=machine.fixed + machine.token * tokens,
        sampled=sampled,
        trained=tokens,
        ended=len(n),
        occupancy=float(rows.mean() / most) if len(rows) else 1.0,
    )


def truncated(lengths: ArrayLike, cap: int) -> Ints:
    """Return lengths under a cap."""
    return np.minimum(np.asarray(lengths, dtype=np.int64), cap)


def serial_group(machine: Machine, chains: ArrayLike, exits: int, answer: int, seed: int = 0) -> Step:
    """S-GRPO: each chain of these lengths with so many exits at random places, whose answers alone are sampled."""
    n = np.asarray(chains, dtype=np.int64)
    places = np.random.default_rng(seed).integers(1, np.maximum(n, 1)[:, None] + 1, (len(n), exits))
    whole, answers = step_cost(machine, n), step_cost(machine, np.full(len(n) * exits, answer))
    trained = int(n.sum() + (places + answer).sum())
    return _both(machine, whole, answers, trained, whole.ended + answers.ended)


def beginnings(machine: Machine, lengths: ArrayLike, eta: float, continuations: int, seed: int = 0) -> Step:
    """PPPO: rollouts, and continuations of the first eta share of each, as long as other rollouts have from there on.

    The whole rollout passes through the model in training, though the loss counts its beginning alone.
    """
    n = np.asarray(lengths, dtype=np.int64)
    others = np.random.default_rng(seed).choice(n, (len(n), continuations))
    rest = np.maximum(others - np.floor(eta * n)[:, None], 1).astype(np.int64)
    return _both(machine, step_cost(machine, n), step_cost(machine, rest.reshape(-1)), int(n.sum()), len(n))


def _both(machine: Machine, first: Step, then: Step, trained: int, ended: int) -> Step:
    """Return the cost of two steps of sampling, one after the other, and one step of training."""
    sampled = first.sampled + then.sampled
    running = (first.occupancy * first.generate + then.occupancy * then.generate) / (first.generate + then.generate)
    return Step(
        generate=first.generate + then.generate, train=machine.fixed + machine.token * trained, sampled=sampled,
        trained=trained, ended=ended, occupancy=running,
    )  # fmt: skip


def segmented(
    machine: Machine, draw: Sequence[int], *, groups: int, size: int, segment: int, steps: int, whole: bool = True
) -> list[Step]:
    """Steps of a training whose rollouts grow by a segment at a time (UloRL; T-PPO with `whole=False`).

    What an unfinished rollout has is read again before it grows: that costs a third of training on it. `draw` are the
    lengths that rollouts would have, taken in order and again from the front.
    """
    if segment < 1 or not len(draw):
        raise BadInput(f"segmented: needs lengths and a segment of at least 1 token, got {segment}.")
    underway, found = Underway(), list[Step]()
    per_group = size if whole else 1
    want = groups if whole else groups * size
    for _ in range(steps):
        underway = _filled(underway, (2 if whole else 1) * want, per_group, draw)
        parts: list[Step] = []
        spent, taken, underway = grow_until(underway, want, _growing(machine, segment, parts), whole=whole)
        tokens = sum(len(row.ids) for row in taken)
        found.append(
            Step(
                generate=sum(part.generate for part in parts), train=machine.fixed + machine.token * tokens,
                sampled=spent, trained=tokens, ended=sum(row.ended for row in taken),
                occupancy=float(np.mean([part.occupancy for part in parts])),
            )
        )  # fmt: skip
    return found


def _growing(machine: Machine, segment: int, parts: list[Step]) -> Callable[[Sequence[Growing]], list[Growing]]:
    """Let rollouts grow to the length that their limit says, and write down what each segment costs."""

    def grow(rows: Sequence[Growing]) -> list[Growing]:
        new = [min(segment, row.limit - len(row.ids)) for row in rows]
        part = step_cost(machine, [n for n in new if n > 0])
        again = sum(len(row.ids) for row, n in zip(rows, new, strict=True) if n > 0)
        parts.append(replace(part, generate=part.generate + machine.token / 3 * again))
        return [
            replace(row, ids=(0,) * (len(row.ids) + n), ended=len(row.ids) + n == row.limit)
            for row, n in zip(rows, new, strict=True)
        ]

    return grow


def _filled(underway: Underway, groups: int, size: int, draw: Sequence[int]) -> Underway:
    """New rollouts; their limit is the length that they will turn out to have."""
    rows, begun = list(underway.rows), underway.groups
    while len({row.group for row in rows}) < groups:
        for place in range(size):
            length = int(draw[(begun * size + place) % len(draw)])
            rows.append(Growing(problem="", group=begun, key=0, limit=max(1, length)))
        begun += 1
    return Underway(rows=tuple(rows), groups=begun)


def fit(decoding: Sequence[tuple[int, int, float]], training: Sequence[tuple[int, float]], slots: int) -> Machine:
    """Return a machine from measurements, by least squares with nothing below zero.

    `decoding` are (decode steps, tokens sampled, seconds), `training` (tokens, seconds).

    Raises:
        BadInput: fewer than two measurements of a kind, which cannot tell two coefficients apart.
    """
    if len(decoding) < 2 or len(training) < 2:
        raise BadInput("fit: at least two measurements of decoding and two of training are needed.")
    base, row = _least([[s, t] for s, t, _ in decoding], [y for *_, y in decoding])
    fixed, token = _least([[1, t] for t, _ in training], [y for _, y in training])
    return Machine(base=base, row=row, token=token, fixed=fixed, slots=slots)


def _least(columns: Sequence[Sequence[float]], seconds: Sequence[float]) -> Floats:
    """Return two coefficients, each 0 or more, that leave the least squared relative error."""
    y = np.asarray(seconds, dtype=np.float64)
    a = np.asarray(columns, dtype=np.float64) / y[:, None]
    one = np.ones(len(y))
    best: Floats = np.linalg.lstsq(a, one, rcond=None)[0].astype(np.float64)
    if (best >= 0).all():
        return best
    alone = [float(a[:, i] @ one / max(float(a[:, i] @ a[:, i]), 1e-300)) for i in range(2)]
    errors = [float(((alone[i] * a[:, i] - 1) ** 2).sum()) for i in range(2)]
    keep = int(np.argmin(errors))
    return np.array([alone[0], 0.0] if keep == 0 else [0.0, alone[1]])
