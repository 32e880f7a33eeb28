"""What verl loads: the entry point `satisfice` of the group `verl.plugins`. Importing this module registers everything.

verl loads it in every process that imports verl, the actors of Ray included, and keeps silent about what goes wrong
here: `satisfice doctor --verl` tells.
"""

import importlib.util
import os

from verl.trainer.ppo.core_algos import register_adv_est, register_policy_loss

from satisfice.methods import shaping
from satisfice.training.verl.estimator import OWN, PREFIX, Estimator
from satisfice.training.verl.loss import MODE, policy_loss

ESTIMATORS = {method: Estimator(method) for method in shaping.FAMILY.methods}

for _method, _estimator in ESTIMATORS.items():
    register_adv_est(PREFIX + _method)(_estimator)
register_adv_est(OWN)(Estimator())
register_policy_loss(MODE)(policy_loss)

if os.environ.get("VERL_PLATFORM") == "satisfice-cpu":
    import satisfice.training.verl.cpu  # registers a platform and a server for it

if importlib.util.find_spec("transfer_queue") is not None:  # comes with verl's own extras; without it: estimators only
    import satisfice.training.verl.loop
    import satisfice.training.verl.reward
    import satisfice.training.verl.trainer  # noqa: F401
