"""The accuracy-efficiency score: its worked example."""

import sys
from pathlib import Path

import pytest

from satisfice.core.errors import BadInput

STUDIES = Path(__file__).parents[2] / "studies"
if not STUDIES.is_dir():
    pytest.skip("needs the studies, which only a clone has", allow_module_level=True)
sys.path.insert(0, str(STUDIES))
from library.aes import AesWeights, aes  # noqa: E402


def test_aes_and_how_its_sign_hangs_on_the_weights() -> None:
    assert aes(500, 0.82, 1000, 0.80) == pytest.approx(0.575)
    assert aes(500, 0.76, 1000, 0.80) == pytest.approx(0.25)
    assert aes(500, 0.76, 1000, 0.80, AesWeights(gamma=10)) == pytest.approx(0.0)
    assert aes(447, 0.817, 530, 0.892) == pytest.approx(-0.264, abs=1e-3), "the formula, where the paper's table errs"
    assert aes(761, 0.718, 1156, 0.738) == pytest.approx(0.206, abs=1e-3)
    with pytest.raises(BadInput, match="no relative change"):
        aes(1, 1, 1, 0)
