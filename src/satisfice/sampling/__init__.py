"""Which tokens may be sampled: one truncation filter a file."""

from collections.abc import Mapping

from satisfice.sampling.basis_aware import BasisAware
from satisfice.sampling.epsilon import Epsilon
from satisfice.sampling.eta import Eta
from satisfice.sampling.filter import Filter, Truncation
from satisfice.sampling.min_p import MinP
from satisfice.sampling.top_h import TopH
from satisfice.sampling.top_k import TopK
from satisfice.sampling.top_n_sigma import TopNSigma
from satisfice.sampling.top_p import TopP
from satisfice.sampling.typical import Typical

METHODS: Mapping[str, type[Filter]] = {
    "basis-aware": BasisAware,
    "epsilon": Epsilon,
    "eta": Eta,
    "min-p": MinP,
    "top-h": TopH,
    "top-k": TopK,
    "top-n-sigma": TopNSigma,
    "top-p": TopP,
    "typical": Typical,
}

__all__ = [
    "METHODS",
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
