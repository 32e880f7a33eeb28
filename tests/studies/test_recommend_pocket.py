"""The study of recommendations: its simulation is the search itself, and what tempts is what it should be."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from satisfice.recommend.search import Goal

STUDY = Path(__file__).parents[2] / "studies" / "recommend-pocket"
if not STUDY.is_dir():
    pytest.skip("needs the studies, which only a clone has", allow_module_level=True)


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(STUDY))
    import simulate

    yield simulate
    for name in ("simulate", "rows"):  # other studies have files of these names too
        sys.modules.pop(name, None)


def drawn(problems: int, dice: np.random.Generator) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Two ladders on problems of two tiers: what a safe setting loses, all after it lose too."""
    tier = np.repeat([0, 1], problems)
    ladders = {"bold": ["b1", "b2", "b3"], "safe": ["s1", "s2", "s3", "s4"]}
    arrays: dict[str, Any] = {"class": tier, "spent": dice.integers(50, 200, tier.size)}
    for some in ladders.values():
        level = dice.random(tier.size) * np.where(tier == 1, 0.6, 1.0)
        for at, spec in enumerate(some, 1):
            arrays[f"lost-{spec}"] = (level < 0.004 * 2**at).astype(np.int8)
            share = (0.1 if spec[0] == "s" else 0.2) * at
            arrays[f"saved-{spec}"] = (arrays["spent"] * share).astype(np.int16)
    return ladders, arrays


@pytest.mark.parametrize("most", [0.02, 0.05])
@pytest.mark.parametrize("size", [60, 400])
def test_all_samples_at_once_is_the_search_one_by_one(simulate: Any, most: float, size: int) -> None:
    whole = simulate.population(*drawn(1500, np.random.default_rng(1)))
    for one in [whole, *simulate.tempting(whole, most)]:
        found = simulate.cell(one, Goal(most=most), size, 40)
        assert found["differ_from_search"] == 0
        assert found["kept"] + found["broken_share"] == pytest.approx(found["promised"])


def test_a_tempting_setting_truly_loses_just_more_than_allowed(simulate: Any) -> None:
    whole = simulate.population(*drawn(1500, np.random.default_rng(2)))
    some = simulate.tempting(whole, 0.02)
    assert some
    for one in some:
        losses = one.losses()[one.settings.index(one.name)]
        assert losses.max() == pytest.approx(0.02 * simulate.TEMPTED)
        assert losses.min() <= 0.01 + 1e-9
        assert np.bincount(one.tier, weights=one.weight) == pytest.approx([1.0, 1.0])
