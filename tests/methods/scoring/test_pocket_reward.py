"""The reward model of the pocket reasoner: what it reads, what it was measured to know, and its use in the search."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.catalog import as_json, build, canonical, from_json
from satisfice.core.errors import BadInput
from satisfice.core.fit import cards
from satisfice.methods.scoring.pocket_reward import FEATURES, PocketReward, about, features
from satisfice.testing import check_method

SURE = "7*6=42\nso 42\nCheck back 42/6=7 7 ok\n"
DOUBT = "7*6=41\nso 41\nCheck back 41/6=6 7 no\n"
REPAIRED = DOUBT + "Wait, again 7*6=42\nso 42\nHmm, back 42/6=7 7 ok\n"
LINES = ["7*6=41", "so 41", "so 42", "Check back 1 2 no", "Wait, back 2 2 ok", "+5=9", "is ok", "no"]


def named(text: str) -> dict[str, float]:
    return dict(zip(FEATURES, features(text).tolist(), strict=True))


def test_what_it_reads() -> None:
    assert named(SURE) == {
        "confirmed": 1, "refuted": 0, "open doubt": 0, "restarts": 0, "answers that differ": 0, "answer confirmed": 1,
    }  # fmt: skip
    assert (named(DOUBT)["open doubt"], named(DOUBT)["answer confirmed"]) == (1, 0)
    fixed = named(REPAIRED)
    last = ("open doubt", "restarts", "answers that differ", "answer confirmed")
    assert [fixed[name] for name in last] == [0, 1, 1, 1]
    assert not any(features(""))


@given(st.lists(st.sampled_from(LINES), max_size=12), st.text("o k n0123456789+=", max_size=6))
def test_a_line_that_is_not_done_says_nothing(lines: list[str], tail: str) -> None:
    whole = "".join(line + "\n" for line in lines)
    assert np.array_equal(features(whole), features(whole + tail))


def test_it_tells_what_the_checks_say() -> None:
    sure, doubt, repaired = PocketReward()("7*6", [SURE, DOUBT, REPAIRED])
    assert sure > doubt
    assert repaired > doubt
    assert all(0 < score < 1 for score in (sure, doubt, repaired))
    assert PocketReward()("7*6", [SURE, SURE]) == [sure, sure]


def test_the_weights_say_where_they_come_from_and_what_they_know() -> None:
    told = about()
    assert told["trained"]["split"] == "calibration"
    assert told["measured"]["split"] == "eval"
    assert 0.5 < told["auroc"]["at 100%"] <= 1


def test_the_catalogue_makes_it_and_puts_it_into_the_search() -> None:
    policy = build("er-prm(n=4, width=2, scorer=pocket-reward)")
    assert canonical(policy) == "er-prm(n=4, width=2, scorer=pocket-reward)"
    assert from_json(json.loads(json.dumps(as_json(policy)))) == policy
    assert [card.id for card in cards(policy)] == ["er-prm", "pocket-reward"]
    check_method(policy)
    with pytest.raises(BadInput, match="deer is a policy, not a scorer"):
        build("er-prm(scorer=deer)")


def test_training_writes_weights_and_what_they_were_measured_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from satisfice.made import pocket_reward as training

    rng = np.random.default_rng(0)

    def examples(folders: list[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        right = rng.random(400) < 0.7
        cuts = np.arange(400) % 4
        texts = [SURE if good or rng.random() < 0.2 else DOUBT for good in right]
        return np.array([features(text) for text in texts]), right, cuts

    monkeypatch.setattr(training, "examples", examples)
    monkeypatch.setattr(training, "_told", lambda folders: {"split": folders[0].name})
    out = tmp_path / "weights.json"
    training.main(["--train", "calibration", "--test", "eval", "--out", str(out)])
    row = json.loads(out.read_text())
    assert list(row["weights"]) == list(FEATURES)
    assert row["weights"]["open doubt"] < 0
    assert row["about"]["auroc"]["at 100%"] > 0.8
    assert row["about"]["auroc"]["chains"] == 100
