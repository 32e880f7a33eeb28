"""Which tokens may be sampled: one truncation filter per file."""

from satisfice.core.method import Family
from satisfice.methods.sampling.basis_aware import BasisAware
from satisfice.methods.sampling.epsilon import Epsilon
from satisfice.methods.sampling.eta import Eta
from satisfice.methods.sampling.filter import FILTER, Filter, Truncation
from satisfice.methods.sampling.min_p import MinP
from satisfice.methods.sampling.top_h import TopH
from satisfice.methods.sampling.top_k import TopK
from satisfice.methods.sampling.top_n_sigma import TopNSigma
from satisfice.methods.sampling.top_p import TopP
from satisfice.methods.sampling.typical import Typical

FAMILY = Family(
    name="sampling",
    kind=FILTER,
    methods={
        "basis-aware": BasisAware,
        "epsilon": Epsilon,
        "eta": Eta,
        "min-p": MinP,
        "top-h": TopH,
        "top-k": TopK,
        "top-n-sigma": TopNSigma,
        "top-p": TopP,
        "typical": Typical,
    },
)

__all__ = [
    "FAMILY",
    "FILTER",
    "BasisAware",
    "Epsilon",
    "Eta",
    "Filter",
    "MinP",
    "TopH",
    "TopK",
    "TopNSigma",
    "TopP",
    "Truncation",
    "Typical",
]
