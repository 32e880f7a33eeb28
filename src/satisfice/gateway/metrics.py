"""What a gateway counts: for Prometheus, for the page, and whether rules save anything."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as Count

from satisfice.catalog import methods_of
from satisfice.core.ledger import Ledger
from satisfice.core.session import POLICY

POLICIES = methods_of(POLICY)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@dataclass
class Mean:
    """A mean and its uncertainty, one value at a time (Welford)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean

    def add(self, value: float) -> None:
        """Add a value."""
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self.squares += step * (value - self.mean)

    @property
    def variance_of_mean(self) -> float:
        """The variance of the mean, not of a value."""
        return self.squares / (self.n - 1) / self.n if self.n > 1 else math.inf


def saving(with_rule: Mean, without: Mean) -> tuple[float, float, float] | None:
    """Return the share of tokens saved, 1 - mean with / mean without, and its 95 % interval by the delta method.

    None while either group has fewer than 30 requests: the interval would be worth nothing.
    """
    if min(with_rule.n, without.n) < 30 or without.mean == 0:
        return None
    ratio = with_rule.mean / without.mean
    variance = (with_rule.variance_of_mean + ratio**2 * without.variance_of_mean) / without.mean**2
    half = 1.96 * math.sqrt(variance)
    return 1 - ratio, 1 - ratio - half, 1 - ratio + half


@dataclass(eq=False)
class Metrics:
    """Everything that is counted, for one gateway."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    stops: Counter[tuple[str, str]] = field(default_factory=Counter)  # (rule, what ended the thinking)
    requests: Counter[str] = field(default_factory=Counter)  # by what became of them
    spent: Ledger = field(default_factory=Ledger)
    ruled: Mean = field(default_factory=Mean)  # tokens of a request under a rule
    control: Mean = field(default_factory=Mean)  # tokens of one without
    same_answer: Mean = field(default_factory=Mean)  # shadow mode: whether the rule would have answered the same

    def __post_init__(self) -> None:
        count, time = (
            partial(Count, registry=self.registry),
            partial(Histogram, registry=self.registry, buckets=SECONDS),
        )
        self._requests = count("satisfice_requests", "Requests by what became of them", ["outcome"])
        tokens = count("satisfice_tokens", "Tokens by what became of them", ["label"])
        labels = ("kept", "probe", "dropped", "injected", "prefilled")
        self._tokens = {label: tokens.labels(label) for label in labels}
        self._stops = count("satisfice_stops", "What ended the thinking", ["policy", "by"])
        self._policies = count("satisfice_policy_tokens", "Tokens sampled under each policy", ["policy"])
        self._clients = count("satisfice_client_tokens", "Tokens sampled for each key, by its digest", ["client"])
        self._asked = count("satisfice_client_requests", "Requests of each key", ["client", "outcome"])
        self._silent = count("satisfice_no_answer", "Responses without an answer", ["policy"])
        self._compared = count("satisfice_compared_requests", "Requests with a rule, and those to compare", ["group"])
        self._compared_tokens = count("satisfice_compared_tokens", "Tokens of these requests", ["group"])
        self._shadows = count("satisfice_shadow_answers", "Whether the rule would have answered alike", ["same"])
        self._ready = Gauge("satisfice_upstream_ready", "Whether it can be used", ["upstream"], registry=self.registry)
        self._first = time("satisfice_first_token_seconds", "Until a client saw text")
        self._whole = time("satisfice_request_seconds", "Until the answer was complete")
        self._running = Gauge("satisfice_requests_running", "Requests under way", registry=self.registry)
        self._faults = count("satisfice_upstream_faults", "Times that an upstream gave up")

    def began(self) -> None:
        """Count a request that was accepted."""
        self._running.inc()

    def ended(self, outcome: str, seconds: float, client: str) -> None:
        """Count the end of a request: ok, passed, refused, failed or cancelled."""
        self._running.dec()
        self.requests[outcome] += 1
        self._requests.labels(outcome).inc()
        self._asked.labels(client, outcome).inc()
        if outcome in ("ok", "passed"):
            self._whole.observe(seconds)

    def refused(self) -> None:
        """Count a request that was refused before it was accepted."""
        self.requests["refused"] += 1
        self._requests.labels("refused").inc()

    def first_text(self, seconds: float) -> None:
        """Note when a client saw its first text."""
        self._first.observe(seconds)

    def fault(self) -> None:
        """Count an upstream that gave up."""
        self._faults.inc()

    def took(self, ledger: Ledger, policy: str, client: str) -> None:
        """Add the tokens that a request spent, whatever became of it."""
        self._policies.labels(_known(policy)).inc(ledger.spent)
        self._clients.labels(client).inc(ledger.spent)
        for label, counter in self._tokens.items():
            counter.inc(getattr(ledger, label))
        self.spent = Ledger(**{name: value + getattr(ledger, name) for name, value in vars(self.spent).items()})

    def stopped(self, policy: str, by: str) -> None:
        """Count what ended a thinking; only names of the catalogue have counters."""
        name = _known(policy)
        self.stops[name, by or "none"] += 1
        self._stops.labels(name, by or "none").inc()

    def no_answer(self, policy: str) -> None:
        """Count a response without an answer."""
        self._silent.labels(_known(policy)).inc()

    def compare(self, group: Literal["ruled", "control"], tokens: int) -> None:
        """Add a request to those with their rule, or to those that show what it would have cost without."""
        (self.ruled if group == "ruled" else self.control).add(tokens)
        self._compared.labels(group).inc()
        self._compared_tokens.labels(group).inc(tokens)

    def shadowed(self, *, same: bool) -> None:
        """Count an answer beside which a rule ran."""
        self.same_answer.add(float(same))
        self._shadows.labels("yes" if same else "no").inc()

    def ready(self, upstreams: Mapping[str, bool]) -> None:
        """Note which upstreams can be used."""
        for name, there in upstreams.items():
            self._ready.labels(name).set(there)

    def text(self) -> bytes:
        """Return all figures in Prometheus' form."""
        return generate_latest(self.registry)

    def figures(self) -> dict[str, Any]:
        """Return what the page shows."""
        saved = saving(self.ruled, self.control)
        return {
            "requests": dict(self.requests),
            "tokens": self.spent.as_row(),
            "stops": [{"policy": policy, "by": by, "n": n} for (policy, by), n in self.stops.most_common(50)],
            "saving": None if saved is None else dict(zip(("mean", "low", "high"), saved, strict=True)),
            "ruled": {"n": self.ruled.n, "mean": self.ruled.mean},
            "control": {"n": self.control.n, "mean": self.control.mean},
            "same_answer": self.same_answer.mean if self.same_answer.n else None,
        }


def _known(policy: str) -> str:
    """Return the name of a policy of the catalogue; others are one, so that requests cannot make counters."""
    name = policy.partition("(")[0].partition(":")[0]
    return name if name in POLICIES or name in ("plain", "passed") else "other"
