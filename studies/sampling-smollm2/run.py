"""Truncation filters, each at its default, on SmolLM2 taught to reason.

    python studies/sampling-smollm2/run.py

The stages are those of the study on the pocket reasoner, without its corpus, on other tasks.
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SETTINGS = (
    "--model", "smollm2+reasoning", "--problems", "15", "--concurrency", "32", "--temperatures", "0.6,1,1.5",
    "--tasks", "leg-counting:easy,products:easy,chain-sum:easy",
    "--filters", "epsilon,eta,min-p,top-p,typical,top-n-sigma,top-h", "--results", str(HERE),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run it with these settings; what is typed wins."""
    _pocket().main([*SETTINGS, *(sys.argv[1:] if argv is None else argv)])


def _pocket() -> Any:
    """Return the other study's module, which is in no package."""
    spec = importlib.util.spec_from_file_location("sampling_pocket", HERE.parent / "sampling-pocket" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
