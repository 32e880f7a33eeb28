"""What is installed, and what could run with it."""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import satisfice
from satisfice.core.card import Need
from satisfice.core.errors import BadInput, MissingExtra, SatisficeError
from satisfice.core.profile import named_profile
from satisfice.models.recognise import Recognised

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*(?:;.*extra\s*==\s*[\"'](?P<extra>[\w-]+)[\"'])?")


def examine(model: str | None = None) -> dict[str, Any]:
    """Everything that `satisfice doctor` says, as JSON-able rows; with a model also its engine and its profile.

    A model's profile is read from its tokenizer and chat template; no weights are loaded, nor need they be there.
    """
    report = {
        "satisfice": satisfice.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "extras": _extras(),
        "engines": _engines(),
        "kernel": _kernel(),
        "pocket": _pocket(),
    }
    if model is not None:
        report |= _server(model) if model.startswith(("http://", "https://")) else _files(model)
    return report


def profile_lines(report: dict[str, Any]) -> Iterator[str]:
    """What a report says of a model's profile, for people."""
    if "profile" not in report:
        return
    shown = report["profile"]
    yield f"profile: {shown['name']}, by {shown['source']}"
    values = shown["values"]
    yield f"  thinks between {values['think_open']!r} and {values['think_close']!r}; a step ends in {values['step']!r}"
    yield f"  cues: {', '.join(values['cues'])}; answer: {values['answer_form']}, by {values['induce_answer']!r}"
    yield from (f"  found: {what}: {seen}" for what, seen in shown["found"].items())
    yield from (f"  not found: {what}" for what in shown["missing"])
    if shown["missing"]:
        yield (
            "  to say otherwise: put what `--json` shows under profile.values, corrected, into the model's folder as "
            "profile.json, or name one behind the model: MODEL?profile=qwen3, MODEL?profile=FILE.json"
        )


def _server(address: str) -> dict[str, Any]:
    """Return what a server gives, asked of it, and how its model is taken to think."""
    from satisfice.engines import load_engine
    from satisfice.models.words import TokenizerWords

    engine: Any = load_engine(address)
    if isinstance(engine.words, TokenizerWords):
        shown = _told(engine.words.recognised)
    else:
        shown = _told(
            Recognised(
                profile=engine.profile, found={}, source="assumed",
                missing=(f"everything: the tokenizer is not at hand. Give its folder: {address}?tokenizer=FOLDER",),
            )
        )  # fmt: skip
    if "profile" in parse_qs(urlsplit(address).query):
        shown = _told(Recognised(profile=engine.profile, found={}, source="the name that was given"))
    return {"model": {**engine.describe(), "provides": _sorted(engine.provides)}, "profile": shown}


def _files(model: str) -> dict[str, Any]:
    """What the files of a model tell: its tokenizer, its chat template, its configuration. Weights are not loaded."""
    try:
        from satisfice.models.names import read_name
        from satisfice.models.resolve import model_folder, weights_mark
        from satisfice.models.words import TokenizerWords
    except ModuleNotFoundError as error:
        raise MissingExtra("looking at a model", "local") from error
    engine, name, options = (named := read_name(model)).engine, named.model, named.options
    folder = model_folder(name)
    words = TokenizerWords(folder)
    given = dict(parse_qsl(options)).get("profile")
    shown = (
        _told(Recognised(profile=named_profile(given), found={}, source="the name that was given"))
        if given
        else _told(words.recognised)
    )
    about = _engines()[engine]
    row = {
        "engine": engine,
        "model": name,
        "folder": str(folder),
        "weights": weights_mark(folder) if list(folder.glob("*.safetensors")) else "none in this folder",
        "provides": about["provides"],
    }
    for problem in (about["why"], _unfit(folder) if engine == "local" else ""):
        if problem:
            row["problem"] = problem
    return {"model": row, "profile": shown}


def _unfit(folder: Path) -> str:
    """Return why the local engine does not run a model, or nothing."""
    from satisfice.engines.local.engine import check_config
    from satisfice.models.resolve import check_folder

    try:
        check_folder(folder)
        from transformers import AutoConfig

        check_config(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False), folder)
    except (BadInput, OSError, ValueError, KeyError) as error:
        return str(error)
    return ""


def _told(recognised: Recognised) -> dict[str, Any]:
    """Return how a model is taken to think: what was seen, what was not, and all values, ready for a `profile.json`."""
    return {
        "name": recognised.profile.name,
        "source": recognised.source,
        "found": dict(recognised.found),
        "missing": list(recognised.missing),
        "values": dataclasses.asdict(recognised.profile),
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
        "local": _engine("local", ("torch", "transformers"), lambda: _offers("engines.local.engine", "LocalEngine")),
        "vllm": _engine("vllm", ("vllm", "torch", "transformers"), lambda: _offers("engines.vllm", "VllmEngine")),
        "http": _engine("http", ("aiohttp",), lambda: _offers("engines.http.engine", "HttpEngine")),
        "replay": _engine("", (), lambda: _offers("recordings.replay", "ReplayEngine")),
        "scripted": _engine("", (), lambda: frozenset(Need) - {Need.UNEMBEDDING}),
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
    found: frozenset[Need] = getattr(importlib.import_module(f"satisfice.{module}"), engine).provides
    return found


def _sorted(needs: frozenset[Need]) -> list[str]:
    return sorted(need.value for need in needs)


def _kernel() -> dict[str, Any]:
    """Return whether the local engine can run small models through its compiled kernel, and why not."""
    if importlib.util.find_spec("torch") is None:
        return {"ready": False, "why": "the local engine is not installed"}
    from satisfice.engines.local.kernel import Unavailable, library

    try:
        library()
    except Unavailable as error:
        return {"ready": False, "why": str(error)}
    return {"ready": True, "why": ""}


def _pocket() -> dict[str, Any]:
    from importlib.resources import files

    try:
        weights = [f for f in files("satisfice").joinpath("models/pocket").iterdir() if f.name.endswith(".safetensors")]
        sizes = [len(file.read_bytes()) for file in weights]
    except OSError:
        sizes = []
    return {"weights": bool(sizes), "bytes": sum(sizes)}
