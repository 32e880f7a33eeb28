"""What shapers ask of a trainer, in words that all trainer adapters share, and how one that lacks it is refused.

Most of it follows from what a shaper can do (a shaper that has `cut` needs a trainer that cuts) and from its `Loss`; a
card names the rest, in `requires`.
"""

from collections.abc import Collection, Mapping

from satisfice.core.card import Requirement
from satisfice.core.fit import asks, require
from satisfice.core.shaper import Capping, Cutting, Monitoring, Shaper, Stateful, asking
from satisfice.core.steering import Replaying, Segmented, Steering


def _of_trainer(name: str, means: str) -> Requirement:
    return Requirement(name, means, "trainer")


CAPS = _of_trainer("caps", "a limit of length of its own for each rollout")
CUTS = _of_trainer("cuts", "rollouts that are cut once they are sampled, and verified again")
MONITORS = _of_trainer("monitors", "a fixed set of prompts that is sampled now and then")
REMEMBERS = _of_trainer("remembers", "what it remembers in the checkpoints")
REPLAYS = _of_trainer("replays", "rollouts of earlier steps to train on again")
SEGMENTS = _of_trainer("segments", "rollouts that go on in the next step")
STATES = _of_trainer("states", "prompts that state the number which its reward is measured against")
STEERS = _of_trainer("steers", "rollouts that it makes itself, while they are sampled")

BRIEF = _of_trainer("brief", "the chance of the token that skips thinking, with its gradient")
COLUMNS = _of_trainer("columns", "columns of its own beside the loss")
ENTROPY_WEIGHTS = _of_trainer("entropy-weights", "an entropy bonus of its own for each token")
KL_IN_REWARD = _of_trainer("kl-in-reward", "rewards less the divergence from the reference policy")
REFRESH = _of_trainer("refresh", "its advantages anew before each update")
TOP_ENTROPY = _of_trainer("top-entropy", "a choice of tokens by their entropy")
VALUES = _of_trainer("values", "a value head")

_BY_ABILITY: Mapping[type, Requirement] = {
    Capping: CAPS, Cutting: CUTS, Monitoring: MONITORS, Stateful: REMEMBERS, Replaying: REPLAYS, Segmented: SEGMENTS,
    Steering: STEERS,
}  # fmt: skip
_SIGNALS: Mapping[str, Requirement] = {"brief": BRIEF, "value": VALUES}
_EVERYWHERE = frozenset({"reference"})  # fields of `Tokens` that each adapter fills where the loss asks for them


def trainer_asks(shaper: Shaper) -> frozenset[Requirement]:
    """Return everything that a shaper asks of a trainer: by its card, by what it can do, and by its loss.

    >>> from satisfice.methods.shaping.drpo import Drpo
    >>> sorted(one.name for one in trainer_asks(Drpo()))
    ['refresh']
    """
    loss = shaper.loss
    found = {one for ability, one in _BY_ABILITY.items() if isinstance(shaper, ability)}
    read = loss.reads - _EVERYWHERE
    found |= {_SIGNALS.get(name, TOP_ENTROPY if name == "entropy" else COLUMNS) for name in read}
    for asked, one in (
        (asking(shaper) is not None, STATES),
        (loss.kl > 0 and loss.kl_in == "reward", KL_IN_REWARD),
        (loss.entropy > 0 and loss.entropy_weights, ENTROPY_WEIGHTS),
        (loss.refresh, REFRESH),
        (loss.top_entropy < 1, TOP_ENTROPY),
    ):
        found |= {one} if asked else set()
    return asks(shaper, "trainer") | found


def require_trainer(shaper: Shaper, name: str, provides: Collection[Requirement], way_out: str) -> None:
    """Raise `Unfit` when a trainer lacks what a shaper asks for; `way_out` says what the person can do then."""
    names = {one.name for one in provides}
    require(shaper, name, names, host="trainer", more=trainer_asks(shaper), way_out=way_out)
