"""What is installed, and what could run with it."""

import importlib
import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Callable
from typing import Any

import satisfice
from satisfice.core.card import Need
from satisfice.core.errors import SatisficeError

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*(?:;.*extra\s*==\s*[\"'](?P<extra>[\w-]+)[\"'])?")


def examine(model: str | None = None) -> dict[str, Any]:
    """Everything that `satisfice doctor` says, as JSON-able rows; with a model also what its own engine offers."""
    report = {
        "satisfice": satisfice.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "extras": _extras(),
        "engines": _engines(),
        "pocket": _pocket(),
    }
    if model is not None:
        from satisfice.engines import load_engine

        engine = load_engine(model)
        report["model"] = {**engine.describe(), "provides": _sorted(engine.provides)}
    return report


def _extras() -> dict[str, dict[str, str | None]]:
    """Extra -> package -> its version, or None where it is not installed. `base` is what always comes along."""
    try:
        requirements = importlib.metadata.requires("satisfice") or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree that was never installed
        requirements = []
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and match["name"] != "satisfice" and match["extra"] != "dev":
            extras.setdefault(match["extra"] or "base", {})[match["name"]] = _version(match["name"])
    return extras


def _version(package: str) -> str | None:
    """Its version, or None; a build of it that goes by another name counts and is named."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        for other in importlib.metadata.packages_distributions().get(package.replace("-", "_"), ()):
            return f"{importlib.metadata.version(other)} ({other})"
    return None


def _engines() -> dict[str, dict[str, Any]]:
    """Engine -> whether it is ready, why not, and what it offers; all of it is imported to find out."""
    return {
        "local": _engine("local", ("torch", "transformers"), lambda: _offers("local", "LocalEngine")),
        "vllm": _engine("vllm", ("vllm", "torch", "transformers"), lambda: _offers("vllm", "VllmEngine")),
        "http": _engine("http", ("httptools", "httpx"), lambda: _offers("http", "HttpEngine")),
        "replay": _engine("", (), lambda: _offers("replay", "ReplayEngine")),
        "scripted": _engine("", (), lambda: frozenset(Need)),
    }


def _engine(extra: str, packages: tuple[str, ...], offers: Callable[[], frozenset[Need]]) -> dict[str, Any]:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        why = f"{' and '.join(missing)} not installed: pip install 'satisfice[{extra}]'"
        return {"ready": False, "why": why, "provides": []}
    try:
        return {"ready": True, "why": "", "provides": _sorted(offers())}
    except (ImportError, OSError, RuntimeError, SatisficeError) as error:  # packages that do not fit one another
        return {"ready": False, "why": f"it does not load: {error}", "provides": []}


def _offers(module: str, engine: str) -> frozenset[Need]:
    found: frozenset[Need] = getattr(importlib.import_module(f"satisfice.engines.{module}"), engine).provides
    return found


def _sorted(needs: frozenset[Need]) -> list[str]:
    return sorted(need.value for need in needs)


def _pocket() -> dict[str, Any]:
    from importlib.resources import files

    try:
        weights = [f for f in files("satisfice").joinpath("models/pocket").iterdir() if f.name.endswith(".safetensors")]
        sizes = [len(file.read_bytes()) for file in weights]
    except OSError:
        sizes = []
    return {"weights": bool(sizes), "bytes": sum(sizes)}
