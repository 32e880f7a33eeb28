"""Models merged without training: one rule per file, each a pure function of one tensor of a base and of others."""

from typing import Any

from satisfice.core.merge import MERGE, Merge
from satisfice.core.method import Family, Methods

_METHODS: Methods[Merge] = Methods(
    __name__,
    {
        "dare": "dare:Dare",
        "dler-merge": "dler_merge:DlerMerge",
        "slerp": "slerp:Slerp",
        "svd": "svd_merge:SvdMerge",
        "task-arithmetic": "task_arithmetic:TaskArithmetic",
        "ties": "ties:Ties",
    },
)
FAMILY = Family(name="merging", kind=MERGE, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
