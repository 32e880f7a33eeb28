"""From a name to a method, and back: the only place that knows all families.

A spec is what people type: `deer`, `deer:0.9` (the first field), `deer(threshold=0.9, mean=min)`, and compositions
such as `first-finish(n=8, stop=deer)`. Nothing in a spec is ever evaluated as code.

There are several kinds of method: a *policy* decides when thinking ends and is what `build` makes unless told
otherwise, a *sampler* truncates the next-token distribution, a *shaper* says how training feels length, a *scorer*
rates chains that are under way. A spec names a method of the kind that is asked for, and a field that holds a method
says by its type which kind that is.
"""

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast, overload

from satisfice.core.card import Card
from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.fields import FieldType, field_types
from satisfice.core.fit import check_fit
from satisfice.core.scorer import Scorer
from satisfice.core.session import Policy
from satisfice.core.shaper import Shaper
from satisfice.methods import parallel, sampling, scoring, shaping, stopping

Kind = Literal["policy", "sampler", "scorer", "shaper"]


class Method(Protocol):
    """What all methods have in common: a frozen dataclass with a card. What one does depends on its kind."""

    card: ClassVar[Card]


FAMILIES: Mapping[str, Mapping[str, type[Method]]] = {
    "stopping": stopping.METHODS,
    "parallel": parallel.METHODS,
    "sampling": sampling.METHODS,
    "shaping": shaping.METHODS,
    "scoring": scoring.METHODS,
}
KINDS: Mapping[str, Kind] = {
    "stopping": "policy", "parallel": "policy", "sampling": "sampler", "shaping": "shaper", "scoring": "scorer",
}  # fmt: skip
METHODS: Mapping[str, type[Method]] = {name: table[name] for table in FAMILIES.values() for name in table}
POLICIES: Mapping[str, type[Policy]] = {**stopping.METHODS, **parallel.METHODS}
ALIASES: Mapping[str, str] = {"cap": "fixed-budget"}

_NAME = re.compile(
    r"(?P<name>(?:[^\s,():=\"]*\.py:)?[^\s,():=\"]+)\s*(?:(?P<colon>:)(?P<main>.*)|\((?P<fields>.*)\))?", re.S
)
_MAX_DEPTH = 8  # methods within methods
_MAX_CHARS = 2_000


def parse_policies(text: str, *, allow_files: bool = False) -> list[Policy]:
    """Read several specs with commas between them; commas inside parentheses belong to a spec.

    >>> [canonical(policy) for policy in parse_policies("full, cap:96, deer(threshold=0.9)")]
    ['full', 'fixed-budget', 'deer(threshold=0.9)']
    """
    policies = [build(spec, allow_files=allow_files) for spec in _split(text)]
    names = [canonical(policy) for policy in policies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(f"policies: {', '.join(twice)} is named more than once. Name each setting once.")
    return policies


@overload
def build(spec: str, *, kind: Literal["policy"] = "policy", allow_files: bool = False) -> Policy: ...
@overload
def build(spec: str, *, kind: Literal["sampler"], allow_files: bool = False) -> sampling.Filter: ...
@overload
def build(spec: str, *, kind: Literal["scorer"], allow_files: bool = False) -> Scorer: ...
@overload
def build(spec: str, *, kind: Literal["shaper"], allow_files: bool = False) -> Shaper: ...
@overload
def build(spec: str, *, kind: Kind, allow_files: bool = False) -> Any: ...
def build(spec: str, *, kind: Kind = "policy", allow_files: bool = False) -> Any:
    """Make a method of one kind from its spec.

    `allow_files` lets a spec name a class in a Python file (`./my.py:MyRule`), which is run: for the command line only.

    Raises:
        UnknownName: no such method or field; the nearest names are suggested.
        BadInput: a spec that cannot be read, a value of the wrong type or out of range.
    """
    if len(spec) > _MAX_CHARS:
        raise BadInput(f"{kind}: a spec has at most {_MAX_CHARS} characters, got {len(spec)}.")
    return _build(spec, kind, allow_files, 0)


def parse_sampler(text: str, *, temperature: float = 1.0) -> sampling.Truncation:
    """Read filters with commas between them, in the order in which they apply.

    The word `temperature` stands for its place among them; where it is left out it comes first, as in transformers and
    vLLM. `sampler_text` writes the same text with it in place.

    >>> sampler_text(parse_sampler("top-k:20, min-p:0.05"))
    'temperature, top-k(k=20), min-p(p=0.05)'
    >>> sampler_text(parse_sampler("top-n-sigma, temperature, top-p:0.9", temperature=1.5))
    'top-n-sigma, temperature, top-p(p=0.9)'
    """
    parts = [part.strip() for part in _split(text)]
    at = parts.index("temperature") if "temperature" in parts else 0
    if parts.count("temperature") > 1:
        raise BadInput(f"sampler {text!r}: `temperature` has one place among the filters. Name it once.")
    built = [build(part, kind="sampler") for part in parts if part != "temperature"]
    return sampling.Truncation(before=tuple(built[:at]), after=tuple(built[at:]), temperature=temperature)


def sampler_text(truncation: sampling.Truncation) -> str:
    """The one text of a chain of filters, with the place of the temperature."""
    before, after = (list(map(canonical, part)) for part in (truncation.before, truncation.after))
    return ", ".join([*before, "temperature", *after])


def check_sampler(truncation: sampling.Truncation, engine: str, provides: frozenset[Any]) -> None:
    """Raise `Unfit` when the engine lacks what a filter needs."""
    for method in truncation.filters:
        check_fit(method.card, engine, provides, others=[other.card for other in sampling.METHODS.values()])


def canonical(method: Method) -> str:
    """The one spec of a method: only fields that differ from their defaults, in the order of the class.

    `build(canonical(policy)) == policy` for every policy of the catalogue, and so for the other kinds.
    """
    cls = type(method)
    name = f"{cls.__module__}:{cls.__qualname__}" if cls.__module__.endswith(".py") else method.card.id
    parts = [f"{field}={_write(kind, value)}" for field, kind, value in _changed(method)]
    return f"{name}({', '.join(parts)})" if parts else name


def as_json(method: Method) -> dict[str, Any]:
    """A method as a JSON object: its `id` and the fields that differ from their defaults."""
    changed = {field: as_json(v) if k.kind == "method" and v is not None else v for field, k, v in _changed(method)}
    return {"id": method.card.id, **changed}


def from_json(row: object, *, kind: Kind = "policy") -> Any:
    """Make a method of one kind from what `as_json` gives; the same errors as `build`."""
    return _from_json(row, kind, 0)


def cards(method: Method) -> list[Card]:
    """The card of a method and those of the methods inside it."""
    inner = [value for _, kind, value in _changed(method) if kind.kind == "method" and value is not None]
    return [method.card, *(card for part in inner for card in cards(part))]


def check_policy(policy: Policy, engine: str, provides: frozenset[Any]) -> None:
    """Raise `Unfit` when the engine lacks what the policy, or a method inside it, needs."""
    for card in cards(policy):
        check_fit(card, engine, provides, others=[method.card for method in _table(_kind_of(card)).values()])


def methods() -> list[dict[str, Any]]:
    """The catalogue as JSON-able rows: family by family, in a family by id."""
    aliases = {name: [alias for alias, target in ALIASES.items() if target == name] for name in METHODS}
    rows = []
    for family, table in FAMILIES.items():
        for name, method in sorted(table.items()):
            card = method.card
            rows.append(
                {
                    "id": name,
                    "family": family,
                    "kind": KINDS[family],
                    "summary": (method.__doc__ or "").strip().partition("\n")[0],
                    "system": card.system,
                    "paper": card.paper,
                    "where": card.where,
                    "fidelity": card.fidelity,
                    "needs": sorted(need.value for need in card.needs),
                    "aliases": aliases[name],
                    "fields": [
                        {
                            "name": field,
                            "takes": str(kind),
                            "default": default if default is None or kind.kind != "method" else canonical(default),
                            "ours": field in card.ours,
                        }
                        for (field, kind), default in zip(field_types(method).items(), _defaults(method), strict=True)
                    ],
                }
            )
    return rows


def _table(kind: Kind) -> dict[str, type[Method]]:
    """The methods of one kind, by id."""
    return {name: table[name] for family, table in FAMILIES.items() if KINDS[family] == kind for name in table}


def _kind_of(card: Card) -> Kind:
    """The kind of a method; a stranger's own counts as a policy."""
    return next((KINDS[family] for family, table in FAMILIES.items() if card.id in table), "policy")


_EXAMPLES: Mapping[Kind, str] = {
    "policy": "full,cap:96,first-finish(n=8, stop=deer)",
    "sampler": "top-k:50,min-p(p=0.1)",
    "scorer": "pocket-reward",
    "shaper": "dr-grpo,dapo",
}


def _build(spec: str, kind: Kind, allow_files: bool, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise BadInput(f"{kind}: methods within methods go at most {_MAX_DEPTH} deep.")
    match = _NAME.fullmatch(spec.strip())
    if match is None:
        raise BadInput(
            f"{kind} {spec.strip()!r} cannot be read. Write `id`, `id:value` or `id(field=value, ...)`, with commas "
            f"between several, for example: {_EXAMPLES[kind]}."
        )
    method = _find(match["name"], kind, allow_files)
    kinds = field_types(method)
    values: dict[str, Any] = {}
    if match["colon"]:
        if not kinds:
            raise BadInput(f"{match['name']} has no fields, so nothing can follow the colon in {spec.strip()!r}.")
        main = next(iter(kinds))
        values[main] = _read(match["name"], main, kinds[main], match["main"], allow_files, depth)
    for part in _split(match["fields"]) if match["fields"] and match["fields"].strip() else ():
        field, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise BadInput(
                f"{match['name']}: {part.strip()!r} is no `field=value`. Fields: {', '.join(kinds) or 'none'}."
            )
        if field in values:
            raise BadInput(f"{match['name']}: {field} is given twice in {spec.strip()!r}. Give it once.")
        _known(match["name"], field, kinds)
        values[field] = _read(match["name"], field, kinds[field], text, allow_files, depth)
    return method(**values)


def _find(name: str, kind: Kind, allow_files: bool) -> type[Method]:
    if ".py:" in name:
        return _from_file(name, allow_files)
    known = _table(kind)
    aliases = {alias: target for alias, target in ALIASES.items() if target in known}
    name = aliases.get(name, name)
    if name not in known:
        other = next((KINDS[family] for family, table in FAMILIES.items() if ALIASES.get(name, name) in table), None)
        if other is not None:
            raise BadInput(f"{kind}: {name} is a {other}, not a {kind}. Known: {', '.join(sorted(known))}.")
        raise UnknownName(kind, name, [*known, *aliases])
    return known[name]


def _from_file(name: str, allow_files: bool) -> type[Method]:
    if not allow_files:
        raise BadInput(
            f"policy {name!r}: methods from files can be named on the command line only. Pass the object itself."
        )
    path, _, attribute = name.rpartition(":")
    if path not in sys.modules:
        spec = importlib.util.spec_from_file_location(path, path)
        if spec is None or spec.loader is None or not Path(path).is_file():
            raise BadInput(
                f"policy {name!r}: there is no file {path}. Give the path of a Python file and a class in it."
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[path] = module  # under its path: dataclasses and pickle look the module up by name
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a stranger's file trips over is told as bad input
            del sys.modules[path]
            raise BadInput(
                f"policy {name!r}: {path} fails when it is loaded: {type(error).__name__}: {error}"
            ) from error
    method = getattr(sys.modules[path], attribute, None)
    if method is None:
        own = [key for key, value in vars(sys.modules[path]).items() if getattr(value, "__module__", "") == path]
        raise UnknownName(f"class in {path}", attribute, own)
    if not dataclasses.is_dataclass(method) or not isinstance(getattr(method, "card", None), Card):
        raise BadInput(f"policy {name!r}: {attribute} is no method. Make it a frozen dataclass with a `card` (a Card).")
    return cast(type[Method], method)


def _read(method: str, field: str, kind: FieldType, text: str, allow_files: bool, depth: int) -> Any:
    """A value from its text, by the type of its field. The range is for the method itself to check."""
    text = text.strip()
    if kind.optional and text == "none":
        return None
    try:
        match kind.kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool":
                return {"true": True, "false": False}[text.lower()]
            case "choice" | "text":
                return str(json.loads(text)) if text.startswith('"') else text
            case "method":
                return _build(text, _inner(kind), allow_files, depth + 1)
    except (ValueError, KeyError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{method}: {field} must be {kind}, got {text!r}.") from error


def _write(kind: FieldType, value: Any) -> str:
    if value is None:
        return "none"
    match kind.kind:
        case "method":
            return canonical(value)
        case "bool":
            return str(value).lower()
        case "text":
            return json.dumps(value)
        case _:
            return str(value)


def _inner(field: FieldType) -> Kind:
    """Which kind of method a field holds: what its type is called."""
    return cast(Kind, field.method) if field.method in KINDS.values() else "policy"


def _changed(method: Method) -> list[tuple[str, FieldType, Any]]:
    kinds, defaults = field_types(type(method)), _defaults(type(method))
    rows = [(name, kind, getattr(method, name)) for name, kind in kinds.items()]
    return [row for row, default in zip(rows, defaults, strict=True) if row[2] != default]


def _defaults(method: type) -> list[Any]:
    fields = [field for field in dataclasses.fields(method) if field.init]
    return [f.default if f.default_factory is dataclasses.MISSING else f.default_factory() for f in fields]


def _from_json(row: object, kind: Kind, depth: int) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or depth > _MAX_DEPTH:
        raise BadInput(f'a method is a JSON object such as {{"id": "deer", "threshold": 0.9}}, got {str(row)[:80]!r}.')
    method = _find(row["id"], kind, allow_files=False)
    kinds = field_types(method)
    values = {key: value for key, value in row.items() if key != "id"}
    for field, value in values.items():
        _known(row["id"], str(field), kinds)
        if kinds[field].kind == "method" and value is not None:
            values[field] = _from_json(value, _inner(kinds[field]), depth + 1)
    return method(**values)


def _known(method: str, field: str, kinds: Mapping[str, FieldType]) -> None:
    if not kinds:
        raise BadInput(f"{method} has no fields, got {field!r}.")
    if field not in kinds:
        raise UnknownName(f"field of {method}", field, kinds)


def _split(text: str) -> list[str]:
    """Parts between commas that stand outside parentheses and quotes."""
    parts, depth, quoted, begin = [], 0, False, 0
    for at, char in enumerate(text):
        if char == '"' and text[at - 1 : at] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (char == "(") - (char == ")")
            if depth < 0:
                break
            if char == "," and depth == 0:
                parts.append(text[begin:at])
                begin = at + 1
    if depth or quoted:
        raise BadInput(f"{text!r}: parentheses or quotes do not match.")
    parts.append(text[begin:])
    if not all(part.strip() for part in parts):
        raise BadInput(f"{text!r}: a comma has nothing on one side of it.")
    return parts
