"""What shapers ask of a trainer: by their cards, by what they can do, and by their loss."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from satisfice.catalog import build
from satisfice.core.card import Card, Requirement
from satisfice.core.errors import Unfit
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import SHAPER, STATELESS, Loss, Pressure, Shaped, State
from satisfice.core.trainer import REFRESH, STATES, STEERS, VALUES, require_trainer, trainer_asks


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        ("grpo", set()),
        ("kimi-length(advantage=rloo)", set()),
        ("grpo(kl=0.1, entropy=0.1)", set()),  # what every adapter has
        ("drpo", {"refresh"}),
        ("dot", {"cuts"}),
        ("ceeh", {"remembers"}),
        ("ceeh(explore=loss)", {"remembers", "entropy-weights"}),
        ("spear", {"remembers", "replays"}),
        ("t-ppo", {"segments", "values", "columns"}),
        ("adaptive-deep-reasoning", {"steers", "brief", "columns"}),
        ("adaptive-deep-reasoning(weight=0)", {"steers"}),
        ("kimi-length(advantage=l1-max)", {"states"}),  # what is inside counts
        ("laser-d", {"monitors", "remembers"}),
    ],
)
def test_what_a_shaper_asks_follows_from_what_it_can_do_and_from_its_settings(spec: str, asked: set[str]) -> None:
    assert {one.name for one in trainer_asks(build(spec, SHAPER))} == asked


def test_a_trainer_that_lacks_something_is_refused_with_a_way_out() -> None:
    require_trainer(build("drpo", SHAPER), "bare", {REFRESH}, "Take another.")
    with pytest.raises(Unfit, match=r"^t-ppo needs .* a value head.*, which bare does not have\. Take another\.$"):
        require_trainer(build("t-ppo", SHAPER), "bare", set(), "Take another.")
    with pytest.raises(Unfit, match="prompts that state the number"):
        require_trainer(build("kimi-length(advantage=l1-max)", SHAPER), "bare", {VALUES, STEERS}, "Take another.")


CLUSTER = Requirement("cluster", "more than one machine", "trainer")


@dataclass(frozen=True, kw_only=True)
class Far:
    """A stranger's method, which asks for something of its own."""

    card: ClassVar = Card(
        id="far", paper="", where="here", needs=frozenset(), fidelity="standard", requires=frozenset({CLUSTER})
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    loss: ClassVar = Loss(top_entropy=0.2, kl=0.1, kl_in="reward")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        return Shaped(advantage=rollouts.reward, reward=rollouts.reward)


def test_a_card_names_the_rest() -> None:
    assert {one.name for one in trainer_asks(Far())} == {"cluster", "top-entropy", "kl-in-reward"}
    with pytest.raises(Unfit, match="far needs more than one machine"):
        require_trainer(Far(), "bare", {STATES, *trainer_asks(Far())} - {CLUSTER}, "")
