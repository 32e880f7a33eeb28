"""What is installed, and what could run with it."""

import importlib.metadata
import importlib.util
import platform
import re
from typing import Any

import satisfice
from satisfice.core.card import Need
from satisfice.core.errors import SatisficeError

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*(?:;.*extra\s*==\s*[\"'](?P<extra>[\w-]+)[\"'])?")


def examine() -> dict[str, Any]:
    """Everything that `satisfice doctor` says, as JSON-able rows."""
    return {
        "satisfice": satisfice.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "extras": _extras(),
        "engines": _engines(),
        "pocket": _pocket(),
    }


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
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _engines() -> dict[str, dict[str, Any]]:
    engines: dict[str, dict[str, Any]] = {}
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        why = f"{' and '.join(missing)} not installed: pip install 'satisfice[local]'"
        engines["local"] = {"ready": False, "why": why, "provides": []}
    else:
        try:
            from satisfice.engines.local import LocalEngine

            engines["local"] = {"ready": True, "why": "", "provides": _sorted(LocalEngine.provides)}
        except (ImportError, OSError, SatisficeError) as error:
            engines["local"] = {"ready": False, "why": f"it does not load: {error}", "provides": []}
    from satisfice.engines.replay import ReplayEngine
    from satisfice.engines.scripted import ScriptedEngine

    engines["replay"] = {"ready": True, "why": "", "provides": _sorted(ReplayEngine.provides)}
    engines["scripted"] = {"ready": True, "why": "", "provides": _sorted(ScriptedEngine.provides)}
    return engines


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
