"""How much longer a chain is expected to think, in a sentence per task."""

from collections.abc import Sequence

import numpy as np

from satisfice.measure.subject import Subject
from satisfice.measure.survival import survival
from satisfice.report.samples import Outcome

LEAST = 20  # chains below which nothing is said


def remaining_words(outcomes: Sequence[Outcome], task: str, baseline: Subject | None) -> str:
    """Return what unstopped chains of a task are expected to go on for, once they have thought for long; "" if unknown.

    Chains that the token limit cut are counted as going on. `baseline` is the subject that nothing stops.
    """
    here = [one for one in outcomes if one.task == task and one.subject == baseline and not one.failed]
    if len(here) < LEAST:
        return ""
    length = np.array([one.thinking for one in here], dtype=np.float64)
    cut = np.array([one.truncated for one in here])
    found = survival(length, cut)
    middle, late = np.quantile(length, (0.5, 0.9)).round().astype(int).tolist()
    left = {at: found.remaining(at) for at in dict.fromkeys((0, middle, late))}
    told = [
        f"{more:.0f} more after {at}" if at else f"{more:.0f} tokens" for at, more in left.items() if more is not None
    ]
    if not told:
        return ""
    limit = f" {cut.mean():.0%} were cut by the limit, so these are lower bounds." if cut.any() else ""
    return f"Without a rule a chain is expected to think for {', '.join(told)}.{limit}"
