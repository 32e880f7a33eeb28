"""Everything that one problem spent."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What a problem spent, in tokens. Every sampled token carries exactly one of the first three labels.

    >>> Ledger(kept=40, probe=6, dropped=4).spent
    50
    """

    kept: int = 0  # sampled, on the chain that was returned
    probe: int = 0  # sampled on a fork that only looked
    dropped: int = 0  # sampled on any other chain that was not returned, or cut away
    injected: int = 0  # put in by a policy, on any chain
    prefilled: int = 0  # computed again because a prefix was not shared
    steps: int = 0  # decode steps on the longest path: what latency would be on an idle engine
    wall_s: float = 0.0  # seconds

    @property
    def spent(self) -> int:
        """Every token that was sampled: kept + probe + dropped."""
        return self.kept + self.probe + self.dropped

    def as_row(self) -> dict[str, float]:
        """Return the columns of a result row."""
        return {**asdict(self), "spent": self.spent}
