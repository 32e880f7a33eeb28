"""When to stop what is repeated: a training, a search, an attempt. One halter per file.

A halter sees a row of metrics at a time and says whether to stop. `satisfice train --stop-when` asks one at every
evaluation.
"""

from satisfice.core.halter import HALTER
from satisfice.core.method import Family
from satisfice.methods.halting.early_warning_signals import EarlyWarningSignals
from satisfice.methods.halting.lc_pfn import LcPfn
from satisfice.methods.halting.nas_perf_prediction import NasPerfPrediction
from satisfice.methods.halting.patience import Patience
from satisfice.methods.halting.pos_learning_curves import PosLearningCurves
from satisfice.methods.halting.robot_restart import RobotRestart
from satisfice.methods.halting.stop_when import StopWhen

FAMILY = Family(
    name="halting",
    kind=HALTER,
    methods={
        "early-warning-signals": EarlyWarningSignals,
        "lc-pfn": LcPfn,
        "nas-perf-prediction": NasPerfPrediction,
        "patience": Patience,
        "pos-learning-curves": PosLearningCurves,
        "robot-restart": RobotRestart,
        "stop-when": StopWhen,
    },
)

__all__ = [
    "FAMILY",
    "EarlyWarningSignals",
    "LcPfn",
    "NasPerfPrediction",
    "Patience",
    "PosLearningCurves",
    "RobotRestart",
    "StopWhen",
]
