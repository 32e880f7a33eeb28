"""Which tokens may be sampled: one truncation filter per file."""

from typing import Any

from satisfice.core.method import Family, Methods
from satisfice.methods.sampling.filter import FILTER, Filter, Truncation

_METHODS: Methods[Filter] = Methods(
    __name__,
    {
        "basis-aware": "basis_aware:BasisAware",
        "epsilon": "epsilon:Epsilon",
        "eta": "eta:Eta",
        "min-p": "min_p:MinP",
        "top-h": "top_h:TopH",
        "top-k": "top_k:TopK",
        "top-n-sigma": "top_n_sigma:TopNSigma",
        "top-p": "top_p:TopP",
        "typical": "typical:Typical",
    },
)
FAMILY = Family(name="sampling", kind=FILTER, methods=_METHODS)

__all__ = ["FAMILY", "FILTER", "Filter", "Truncation"]


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
