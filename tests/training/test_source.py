"""What our trainers give shapers: everything through TRL, and verl says what it has no place for."""

import pytest

from satisfice.core.errors import Unfit
from satisfice.methods.shaping import FAMILY
from satisfice.training.source import check_trl
from satisfice.training.verl.doctor import methods


def test_trl_with_our_engine_serves_every_shaper() -> None:
    for method in FAMILY.methods.values():
        check_trl(method())


@pytest.mark.parametrize(
    ("name", "setting", "says"),
    [
        ("s-grpo", {"steers": False}, r"which TRL without our own engine does not have\. Set --rollouts local\."),
        ("ulorl", {"steers": False}, "rollouts that go on in the next step"),
        ("ulorl", {"processes": 2}, r"a training on several processes does not have\. Run one process\."),
        ("drpo", {"updates": 2}, r"a training with several updates per batch does not have\. Have one update"),
    ],
)
def test_a_setting_that_cannot_serve_a_shaper_is_refused(name: str, setting: dict[str, int], says: str) -> None:
    with pytest.raises(Unfit, match=says):
        check_trl(FAMILY.methods[name](), **setting)  # type: ignore[arg-type]


def test_verl_refuses_what_it_has_no_place_for_and_says_where_to_go() -> None:
    refused = {name: row["why"] for name, row in methods().items() if not row["trainer"]}
    assert set(refused) >= {"adaptive-deep-reasoning", "dot", "epo", "spear", "t-ppo", "ulorl"}
    assert not {"grpo", "laser-d", "s-grpo", "l1-exact", "drpo", "kimi-length"} & set(refused)
    for name in ("dot", "epo", "spear", "t-ppo", "ulorl"):
        assert refused[name].endswith("which verl does not have. Train it with TRL: satisfice train.")
