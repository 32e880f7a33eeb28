"""Keep the tokens that the output matrix itself certifies, however unlikely they look."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.arrays import Array, is_torch, namespace
from satisfice.core.card import Card, Need
from satisfice.core.errors import BadInput, Unfit
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import as_scores
from satisfice.methods.sampling.eta import eta_floor
from satisfice.methods.sampling.filter import truncate

Outcome = Literal["certified", "possibly-zero", "unsolved"]


@dataclass(frozen=True, kw_only=True)
class BasisAware:
    """Keep the tokens that the output matrix itself certifies, however unlikely they look (BAT).

    A model with output matrix W (V x d, d < V) can only be right about W^T p. If it underestimates no token by more
    than a factor 1 / (1 - tau), then a token v is certain to have true probability above zero when no p exists with

        p >= 0,  sum p = 1,  W^T p = W^T p^,  p_i <= p^_i / (1 - tau),  p_v = 0

    which is a linear program (solved by HiGHS). Tokens with p^_v >= tau pass at once; tau is the threshold of the base
    rule. A token may thus be kept while a likelier one is cut, which no threshold can do.

    It goes before the temperature: the model is fitted at temperature 1. It needs `bind` with the output matrix, which
    a bias or a soft cap on the logits would make wrong. A step costs up to `tests` linear programs, milliseconds each.

    Reference code: https://github.com/mattf1n/basis-aware-threshold; it was read, not run beside this.

    Differs from the code: that draws tokens and tests each draw, up to ten times (`draw` does so); a filter does not
    draw, so the `tests` likeliest tokens below tau are tested and all others cut. The bound p >= 0, which the released
    sampling path leaves out, certifies more tokens. A program that the solver gives up on keeps its token, as there.
    """

    card: ClassVar = Card(
        id="basis-aware", paper="arXiv:2310.01693", where="Sec. 4.2, Alg. 1",
        needs=frozenset({Need.LOGITS, Need.UNEMBEDDING}), fidelity="paper", system="basis-aware-truncation",
        ours=("epsilon", "tests", "columns"),
    )  # fmt: skip

    epsilon: Annotated[float, Range(0, 1)] = 2e-3  # probability, of the base rule
    base: Literal["eta", "epsilon"] = "eta"  # where tau comes from
    columns: Annotated[int, Range(1)] = 20  # singular directions of W that are used; fewer only keep fewer tokens
    tests: Annotated[int, Range(0)] = 10  # tokens below tau that are tested, the likeliest first

    def __post_init__(self) -> None:
        check_fields(self)

    def bind(self, unembedding: ArrayLike) -> "BoundBasisAware":
        """Return the filter for a model with this output matrix, `[vocab, d]`."""
        return BoundBasisAware(self, basis_of(unembedding, self.columns))

    def keep(self, logits: Array) -> Array:
        raise Unfit("basis-aware needs the model's output matrix. Bind it first: BasisAware().bind(matrix).")

    def __call__(self, logits: Array) -> Array:
        return truncate(self.keep, logits)


class BoundBasisAware:
    """Basis-aware truncation for one model; `outcomes` counts what the solver said."""

    card: ClassVar[Card] = BasisAware.card

    def __init__(self, method: BasisAware, basis: NDArray[np.float64]) -> None:
        self.method, self.basis = method, basis
        self.outcomes: dict[Outcome, int] = {"certified": 0, "possibly-zero": 0, "unsolved": 0}

    def keep(self, logits: Array) -> Array:
        scores, _ = as_scores(logits, "basis-aware")
        plain = scores.double().cpu().numpy() if is_torch(scores) else scores.astype(np.float64)
        keep = np.stack([self._keep_row(row) for row in plain])
        return namespace(scores).as_tensor(keep, device=scores.device) if is_torch(scores) else keep

    def __call__(self, logits: Array) -> Array:
        return truncate(self.keep, logits)

    def _keep_row(self, row: NDArray[np.float64]) -> NDArray[np.bool_]:
        p = np.exp(row - row.max())
        p /= p.sum()
        tau = threshold(p, self.method.epsilon, self.method.base)
        keep: NDArray[np.bool_] = (p >= tau) & (p > 0)
        keep[p.argmax()] = True
        below = np.flatnonzero(~keep & (p > 0))
        for token in below[np.argsort(-p[below], kind="stable")][: self.method.tests]:
            outcome = certify(p, self.basis, tau, int(token))
            self.outcomes[outcome] += 1
            keep[token] = outcome != "possibly-zero"
        return keep


def basis_of(unembedding: ArrayLike, columns: int | None = None) -> NDArray[np.float64]:
    """Return the output matrix `[vocab, d]` times its leading right singular vectors: `[vocab, columns]`.

    Leaving out directions leaves out constraints, so what is certified with fewer is certified with all.
    """
    matrix = np.asarray(unembedding, dtype=np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise BadInput(f"basis-aware: the output matrix must be finite, [vocab, d]; got {list(matrix.shape)}.")
    if columns is None or columns >= matrix.shape[1]:
        return matrix
    _, _, directions = np.linalg.svd(matrix.T @ matrix)  # symmetric, so its right vectors are those of the matrix
    return np.asarray(matrix @ directions[:columns].T, dtype=np.float64)


def threshold(p: ArrayLike, epsilon: float, base: Literal["eta", "epsilon"] = "eta") -> float:
    """Return the base rule's probability below which a token must be certified."""
    mass = np.asarray(p, dtype=np.float64)
    positive = mass[mass > 0]
    entropy = -(positive * np.log(positive)).sum()
    return float(eta_floor(np.float64(epsilon), entropy)) if base == "eta" else epsilon


def certify(p: ArrayLike, basis: ArrayLike, tau: float, token: int) -> Outcome:
    """Return whether a token must have true probability above zero; `p` `[vocab]`, `basis` `[vocab, columns]`.

    >>> p = [0.45, 0.25, 0.15, 0.08, 0.05, 0.02]
    >>> basis = [(1, 0), (1, 0.2), (0, 1), (0, 0.9), (-1, -0.5), (2.5, 2.5)]
    >>> [certify(p, basis, 0.3, token) for token in (3, 4)]      # the less likely one is certain
    ['possibly-zero', 'certified']
    """
    from scipy.optimize import linprog

    mass, matrix = np.asarray(p, dtype=np.float64), np.asarray(basis, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) != len(mass):
        raise BadInput(
            f"basis-aware: the output matrix must be [{len(mass)}, d], as many rows as there are tokens; "
            f"got {list(matrix.shape)}."
        )
    if mass[token] >= tau:
        return "certified"
    # Unknowns are p_i / p^_i, so that all bounds are alike; each row is scaled to 1 for the solver's tolerance.
    rows = np.column_stack([np.ones(len(mass)), matrix]).T * mass
    scale = np.abs(rows).max(axis=1)
    rows = rows[scale > 0] / scale[scale > 0, None]
    bounds = np.tile([0.0, 1 / (1 - tau)], (len(mass), 1))
    bounds[token] = 0.0
    solved: Any = linprog(np.zeros(len(mass)), A_eq=rows, b_eq=rows.sum(axis=1), bounds=bounds, method="highs")
    return {0: "possibly-zero", 2: "certified"}.get(solved.status, "unsolved")  # type: ignore[return-value]


def draw(
    p: ArrayLike, basis: ArrayLike, tau: float, rng: np.random.Generator, *, retry_limit: int = 10
) -> tuple[int, int]:
    """Sample one token as the released code does, and say how many programs that took.

    Tokens are drawn without replacement in proportion to `p` until one is certified or not decided; after `retry_limit`
    rejected draws the likeliest is taken.
    """
    mass = np.array(p, dtype=np.float64)
    left = mass.copy()
    for programs in range(min(retry_limit, int((mass > 0).sum()))):
        token = int(rng.choice(len(left), p=left / left.sum()))
        if mass[token] >= tau:
            return token, programs
        if certify(mass, basis, tau, token) != "possibly-zero":
            return token, programs + 1
        left[token] = 0.0
        if left.sum() <= 0 or not math.isfinite(left.sum()):
            return int(mass.argmax()), programs + 1
    return int(mass.argmax()), retry_limit
