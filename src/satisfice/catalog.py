"""From a name to a method, and back: the only place that knows all families.

A spec is what people type: `deer`, `deer:0.9` (the first field), `deer(threshold=0.9, mean=min)`, `deer@pocket` (what
our study recommends for that model) and compositions such as `first-finish(n=8, stop=deer)`. Nothing in a spec is ever
evaluated as code.

A spec names a method of the kind that is asked for: `build("kimi-length", SHAPER)`. A field that holds a method says by
its type which kind that is. Nothing here knows what a kind is called with.
"""

import dataclasses
import importlib.util
import json
import sys
from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from satisfice.core.card import Card, Host
from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.fields import FieldType, field_types
from satisfice.core.fit import require
from satisfice.core.method import Family, Kind, Method, join
from satisfice.core.session import POLICY, Policy
from satisfice.core.spec import parse, split
from satisfice.methods import denoising, halting, merging, parallel, sampling, scoring, shaping, stopping, tuning

T = TypeVar("T")

FAMILIES: Mapping[str, Family[Any]] = join(
    tuple(
        package.FAMILY
        for package in (stopping, parallel, sampling, shaping, scoring, tuning, merging, denoising, halting)
    )
)
KINDS: Mapping[str, Kind[Any]] = {family.kind.name: family.kind for family in FAMILIES.values()}
METHODS: Mapping[str, type[Method]] = ChainMap(*(cast(Any, family.methods) for family in FAMILIES.values()))
ALIASES: Mapping[str, str] = {"cap": "fixed-budget"}

_MAX_DEPTH = 8  # methods within methods


def methods_of(kind: Kind[T]) -> dict[str, type[T]]:
    """Return the methods of one kind, by id."""
    return {name: f.methods[name] for f in FAMILIES.values() if f.kind == kind for name in f.methods}


def kind_of(method: type | Method) -> Kind[Any]:
    """Return the kind of a method: by its table, or for a method that is in none by what it can be called with.

    Raises:
        BadInput: it fits no kind, or several.
    """
    cls = method if isinstance(method, type) else type(method)
    own = getattr(getattr(cls, "card", None), "id", "")
    for family in FAMILIES.values():
        if own in family.methods and family.methods[own] is cls:
            return family.kind
    found = [kind for kind in KINDS.values() if kind.accepts(cls)]
    most = max((len(kind.members) for kind in found), default=0)
    if len(found := [kind for kind in found if len(kind.members) == most]) == 1:
        return found[0]
    fits = f"fits several kinds ({', '.join(map(str, found))}). Say which." if found else "fits no kind of method."
    raise BadInput(f"{cls.__name__} {fits} {' '.join(kind.about for kind in found or KINDS.values())}")


def parse_policies(text: str, *, allow_files: bool = False) -> list[Policy]:
    """Read several specs with commas between them; commas inside parentheses belong to a spec.

    >>> [canonical(policy) for policy in parse_policies("full, cap:96, deer(threshold=0.9)")]
    ['full', 'fixed-budget', 'deer(threshold=0.9)']
    """
    policies = [build(spec, allow_files=allow_files) for spec in split(text)]
    names = [canonical(policy) for policy in policies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(f"policies: {', '.join(twice)} is named more than once. Name each setting once.")
    return policies


@overload
def build(spec: str, *, allow_files: bool = False) -> Policy: ...
@overload
def build(spec: str, kind: Kind[T], *, allow_files: bool = False) -> T: ...
def build(spec: str, kind: Kind[Any] = POLICY, *, allow_files: bool = False) -> Any:
    """Make a method of one kind from its spec; without a kind, a policy.

    `allow_files` lets a spec name a class in a Python file (`./my.py:MyRule`), which is run: for the command line only.

    Raises:
        UnknownName: no such method or field; the nearest names are suggested.
        BadInput: a spec that cannot be read, a value of the wrong type or out of range.
    """
    return _build(spec, kind, allow_files, 0)


def find(name: str, kind: Kind[Any], *, allow_files: bool = False) -> type[Method]:
    """Return the class of a method of one kind by its id, an alias, or the file that it is in.

    Raises:
        UnknownName: no such method of this kind; the nearest names are suggested.
        BadInput: it is of another kind, or a file that may not be named or is none.
    """
    if ".py:" in name:
        return _from_file(name, kind, allow_files)
    known = methods_of(kind)
    aliases = {alias: target for alias, target in ALIASES.items() if target in known}
    name = aliases.get(name, name)
    if name not in known:
        other = next((f.kind for f in FAMILIES.values() if ALIASES.get(name, name) in f.methods), None)
        if other is not None:
            raise BadInput(f"{kind}: {name} is a {other}, not a {kind}. Known: {', '.join(sorted(known))}.")
        raise UnknownName(kind.name, name, [*known, *aliases])
    return known[name]


def parse_sampler(text: str, *, temperature: float = 1.0, allow_files: bool = False) -> sampling.Truncation:
    """Read filters with commas between them, in the order in which they apply.

    The word `temperature` stands for its place among them; where it is left out it comes first, as in transformers and
    vLLM. `sampler_text` writes the same text with it in place.

    >>> sampler_text(parse_sampler("top-k:20, min-p:0.05"))
    'temperature, top-k(k=20), min-p(p=0.05)'
    >>> sampler_text(parse_sampler("top-n-sigma, temperature, top-p:0.9", temperature=1.5))
    'top-n-sigma, temperature, top-p(p=0.9)'
    """
    parts = [part.strip() for part in split(text)]
    at = parts.index("temperature") if "temperature" in parts else 0
    if parts.count("temperature") > 1:
        raise BadInput(f"sampler {text!r}: `temperature` has one place among the filters. Name it once.")
    built = [build(part, sampling.FILTER, allow_files=allow_files) for part in parts if part != "temperature"]
    return sampling.Truncation(before=tuple(built[:at]), after=tuple(built[at:]), temperature=temperature)


def sampler_text(truncation: sampling.Truncation) -> str:
    """Return the one text of a chain of filters, with the place of the temperature."""
    before, after = (list(map(canonical, part)) for part in (truncation.before, truncation.after))
    return ", ".join([*before, "temperature", *after])


def canonical(method: Method) -> str:
    """Return the one spec of a method: only fields that differ from their defaults, in the order of the class.

    `build(canonical(policy)) == policy` for every policy of the catalogue, and so for the other kinds.
    """
    cls = type(method)
    name = f"{cls.__module__}:{cls.__qualname__}" if cls.__module__.endswith(".py") else method.card.id
    parts = [f"{field}={_write(takes, value)}" for field, takes, value in _changed(method)]
    return f"{name}({', '.join(parts)})" if parts else name


def as_json(method: Method) -> dict[str, Any]:
    """Return a method as a JSON object: its `id` and the fields that differ from their defaults."""
    changed = {field: as_json(v) if k.kind == "method" and v is not None else v for field, k, v in _changed(method)}
    return {"id": method.card.id, **changed}


@overload
def from_json(row: object) -> Policy: ...
@overload
def from_json(row: object, kind: Kind[T]) -> T: ...
def from_json(row: object, kind: Kind[Any] = POLICY) -> Any:
    """Make a method of one kind from what `as_json` gives; the same errors as `build`."""
    return _from_json(row, kind, 0)


def check_fit(
    chosen: Iterable[Method], name: str, provides: Collection[str], *, host: Host = "engine", kind: Kind[Any] = POLICY
) -> None:
    """Raise `Unfit` when a host (an engine, a trainer, a model, some data) lacks what a method or one inside it needs.

    `name` is the host as people know it; methods of the same kind that it can run are suggested. `kind` is that of
    methods that are in no family.
    """
    for method in chosen:
        own = next((family.kind for family in FAMILIES.values() if method.card.id in family.methods), kind)
        require(method, name, provides, host=host, others=[other.card for other in methods_of(own).values()])


def methods() -> list[dict[str, Any]]:
    """Return the catalogue as JSON-able rows: family by family, in a family by id."""
    aliases = {name: [alias for alias, target in ALIASES.items() if target == name] for name in METHODS}
    rows = []
    for family in FAMILIES.values():
        for name, method in sorted(family.methods.items()):
            card = method.card
            rows.append(
                {
                    "id": name,
                    "family": family.name,
                    "kind": family.kind.name,
                    "summary": (method.__doc__ or "").strip().partition("\n")[0],
                    "system": card.system,
                    "paper": card.paper,
                    "where": card.where,
                    "fidelity": card.fidelity,
                    "needs": sorted(need.value for need in card.needs),
                    "requires": {one.name: one.means for one in sorted(card.requires, key=lambda one: one.name)},
                    "aliases": aliases[name],
                    "presets": {
                        model: {"spec": canonical(method(**preset.fields)), "study": preset.study}
                        for model, preset in sorted(getattr(method, "presets", {}).items())
                    },
                    "fields": [
                        {
                            "name": field,
                            "takes": str(takes),
                            "default": default if default is None or takes.kind != "method" else canonical(default),
                            "ours": field in card.ours,
                        }
                        for (field, takes), default in zip(field_types(method).items(), _defaults(method), strict=True)
                    ],
                }
            )
    return rows


def _build(text: str, kind: Kind[Any], allow_files: bool, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise BadInput(f"{kind}: methods within methods go at most {_MAX_DEPTH} deep.")
    spec = parse(text, kind.name, kind.example)
    method = find(spec.name, kind, allow_files=allow_files)
    takes = field_types(method)
    values: dict[str, Any] = {}
    if spec.main is not None:
        if not takes:
            raise BadInput(f"{spec.name} has no fields, so nothing can follow the colon in {text.strip()!r}.")
        first = next(iter(takes))
        values[first] = _read(spec.name, first, takes[first], spec.main, allow_files, depth)
    for part in spec.parts:
        field, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise BadInput(f"{spec.name}: {part!r} is no `field=value`. Fields: {', '.join(takes) or 'none'}.")
        if field in values:
            raise BadInput(f"{spec.name}: {field} is given twice in {text.strip()!r}. Give it once.")
        _known(spec.name, field, takes)
        values[field] = _read(spec.name, field, takes[field], value, allow_files, depth)
    return method(**{**_preset(spec.name, method, spec.preset), **values})


def _preset(name: str, method: type[Method], model: str | None) -> Mapping[str, Any]:
    """Return the fields that a study recommends for a model; none without a model."""
    if model is None:
        return {}
    presets = getattr(method, "presets", {})
    if model not in presets:
        if not presets:
            raise BadInput(f"{name} has no presets, got {name}@{model}. Name its fields instead.")
        raise UnknownName(f"preset of {name}", model, presets)
    fields: Mapping[str, Any] = presets[model].fields
    return fields


def _from_file(name: str, kind: Kind[Any], allow_files: bool) -> type[Method]:
    if not allow_files:
        raise BadInput(
            f"{kind} {name!r}: methods from files can be named on the command line only. Pass the object itself."
        )
    path, _, attribute = name.rpartition(":")
    if path not in sys.modules:
        spec = importlib.util.spec_from_file_location(path, path)
        if spec is None or spec.loader is None or not Path(path).is_file():
            raise BadInput(
                f"{kind} {name!r}: there is no file {path}. Give the path of a Python file and a class in it."
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[path] = module  # under its path: dataclasses and pickle look the module up by name
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a stranger's file trips over is told as bad input
            del sys.modules[path]
            raise BadInput(
                f"{kind} {name!r}: {path} fails when it is loaded: {type(error).__name__}: {error}"
            ) from error
    method = getattr(sys.modules[path], attribute, None)
    if method is None:
        own = [key for key, value in vars(sys.modules[path]).items() if getattr(value, "__module__", "") == path]
        raise UnknownName(f"class in {path}", attribute, own)
    if not dataclasses.is_dataclass(method) or not isinstance(getattr(method, "card", None), Card):
        raise BadInput(f"{kind} {name!r}: {attribute} is no method. Make it a frozen dataclass with a `card` (a Card).")
    if not kind.accepts(cast(type, method)):
        raise BadInput(f"{kind} {name!r}: {attribute} is no {kind}. {kind.about}")
    return cast(type[Method], method)


def _read(method: str, field: str, takes: FieldType, text: str, allow_files: bool, depth: int) -> Any:
    """Return a value from its text, by the type of its field. The range is for the method itself to check."""
    text = text.strip()
    if takes.optional and text == "none":
        return None
    try:
        match takes.kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool":
                return {"true": True, "false": False}[text.lower()]
            case "choice" | "text":
                return str(json.loads(text)) if text.startswith('"') else text
            case "method":
                return _build(text, _inner(method, field, takes), allow_files, depth + 1)
    except (ValueError, KeyError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{method}: {field} must be {takes}, got {text!r}.") from error


def _write(takes: FieldType, value: Any) -> str:
    if value is None:
        return "none"
    match takes.kind:
        case "method":
            return canonical(value)
        case "bool":
            return str(value).lower()
        case "text":
            return json.dumps(value)
        case _:
            return str(value)


def _inner(method: str, field: str, takes: FieldType) -> Kind[Any]:
    """Return the kind of method that a field holds: the one with its type as the protocol."""
    found = next((kind for kind in KINDS.values() if kind.protocol is takes.protocol), None)
    if found is None:
        raise BadInput(f"{method}: {field} holds an object of Python, which no spec can name. Pass the object itself.")
    return found


def _changed(method: Method) -> list[tuple[str, FieldType, Any]]:
    takes, defaults = field_types(type(method)), _defaults(type(method))
    rows = [(name, kind, getattr(method, name)) for name, kind in takes.items()]
    return [row for row, default in zip(rows, defaults, strict=True) if row[2] != default]


def _defaults(method: type) -> list[Any]:
    fields = [field for field in dataclasses.fields(method) if field.init]
    return [f.default if f.default_factory is dataclasses.MISSING else f.default_factory() for f in fields]


def _from_json(row: object, kind: Kind[Any], depth: int) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or depth > _MAX_DEPTH:
        raise BadInput(
            f'a {kind} is a JSON object with its id and fields, such as {{"id": "deer", "threshold": 0.9}}, '
            f"got {str(row)[:80]!r}."
        )
    method = find(row["id"], kind)
    takes = field_types(method)
    values = {key: value for key, value in row.items() if key != "id"}
    for field, value in values.items():
        _known(row["id"], str(field), takes)
        if takes[field].kind == "method" and value is not None:
            values[field] = _from_json(value, _inner(row["id"], field, takes[field]), depth + 1)
    return method(**values)


def _known(method: str, field: str, takes: Mapping[str, FieldType]) -> None:
    if not takes:
        raise BadInput(f"{method} has no fields, got {field!r}.")
    if field not in takes:
        raise UnknownName(f"field of {method}", field, takes)
