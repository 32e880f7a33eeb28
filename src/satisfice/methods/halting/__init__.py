"""When to stop what is repeated: a training, a search, an attempt. One halter per file.

A halter sees a row of metrics at a time and says whether to stop. `satisfice train --stop-when` asks one at every
evaluation.
"""

from typing import Any

from satisfice.core.halter import HALTER, Halter
from satisfice.core.method import Family, Methods

_METHODS: Methods[Halter] = Methods(
    __name__,
    {
        "early-warning-signals": "early_warning_signals:EarlyWarningSignals",
        "lc-pfn": "lc_pfn:LcPfn",
        "nas-perf-prediction": "nas_perf_prediction:NasPerfPrediction",
        "patience": "patience:Patience",
        "pos-learning-curves": "pos_learning_curves:PosLearningCurves",
        "robot-restart": "robot_restart:RobotRestart",
        "stop-when": "stop_when:StopWhen",
    },
)
FAMILY = Family(name="halting", kind=HALTER, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
