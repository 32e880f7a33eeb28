"""Options of commands: made from the settings of a plan, or shared by several commands."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from satisfice.cli import complete
from satisfice.core.errors import BadInput
from satisfice.core.flags import Setting, settings

MOST = 100_000  # numbers in a list

TYPES = {"int": int, "float": float, "bool": bool, "text": str, "choice": str}

MODEL = (
    "`pocket`; `smollm2` or `smollm2+reasoning`; a folder with a model; MODEL+ADAPTER; http://SERVER:PORT; vllm:MODEL. "
    "Options follow a question mark: MODEL?profile=qwen3."
)
Model = Annotated[str, typer.Option(help=MODEL, autocompletion=complete.models)]
Tasks = Annotated[
    str,
    typer.Option(
        help="Tasks, with commas: tiers, reasoning-gym families, .jsonl files.", autocompletion=complete.tasks
    ),
]
POLICIES = "Policies, with commas: id, id:value, id(field=value, ...). `satisfice methods` lists them."
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for other programs.")]


def options_of(plan: type, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting of a plan, in the place of its `**settings`.

    What was typed arrives there under the names of the plan's fields, ready for the plan. `defaults` are those of the
    command where it has others than the plan; None makes an option that may be left out. A command may have the options
    of two plans; what both name is one option, as the inner one has it.
    """
    made = list(settings(plan))
    if unknown := defaults.keys() - {setting.field for setting in made}:
        raise TypeError(f"{plan.__name__} has no settings {sorted(unknown)}")

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [parameter for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
        there = {parameter.name for parameter in parameters}  # of another plan, under this one
        parameters += [
            _parameter(setting, defaults.get(setting.field, setting.default))
            for setting in made
            if setting.field not in there
        ]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            for setting in made:
                if setting.field not in there:
                    given[setting.field] = _value(setting, given[setting.field])
            command(**given)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(setting: Setting, default: Any) -> inspect.Parameter:
    takes, kind = setting.takes, TYPES[setting.takes.kind]
    extra: dict[str, Any] = {}
    if setting.several and takes.kind == "text":  # a text may have commas in it, so the option is given again
        hint: Any = list[str] | None
        default = list(default) or None
    elif setting.several:
        hint, default = str, ",".join(map(str, default))
    else:
        hint = kind | None if takes.optional or default is None else kind
    if takes.kind in ("int", "float") and not setting.several:
        low, high = takes.range.low, takes.range.high
        extra = {"min": None if low is None else kind(low), "max": None if high is None else kind(high)}
    if takes.choices:
        extra = {"metavar": f"[{'|'.join(takes.choices)}]", "autocompletion": complete.choices(takes.choices)}
    option = typer.Option(f"--{setting.name}", help=setting.flag.help, **extra)
    return inspect.Parameter(
        setting.field, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[hint, option],
        default=inspect.Parameter.empty if default is dataclasses.MISSING else default,
    )  # fmt: skip


def _value(setting: Setting, given: Any) -> Any:
    """Return what was typed as the plan takes it."""
    if not setting.several:
        return given
    if setting.takes.kind == "int":
        return numbers(setting.name, given)
    return tuple(given or ()) if setting.takes.kind == "text" else tuple(names(given))


def names(text: str) -> list[str]:
    """Return the names that stand between commas.

    >>> names("chain-sum:easy, chain-sum:hard")
    ['chain-sum:easy', 'chain-sum:hard']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def with_preset(policy: str, model: str) -> str:
    """Return the spec of a policy for a model, with the settings that a study recommends for it where one does.

    An adapter of a model takes that model's. Of several models, all must be one model and its adapters.

    >>> with_preset("deer", "pocket"), with_preset("deer", "vllm:smollm2+reasoning"), with_preset("deer", "models/r1")
    ('deer@pocket', 'deer@smollm2', 'deer')
    """
    from satisfice.catalog import methods_of
    from satisfice.core.session import POLICY
    from satisfice.models.names import read_name

    bases = {read_name(name).model.partition("+")[0] for name in names(model)}
    known = getattr(methods_of(POLICY)[policy], "presets", {}).keys() & bases
    return f"{policy}@{known.pop()}" if known and len(bases) == 1 else policy


def numbers(flag: str, text: str) -> tuple[int, ...]:
    """Return whole numbers that stand between commas; `a..b` is all numbers from a to b.

    >>> numbers("seeds", "0..3,7")
    (0, 1, 2, 3, 7)
    """
    found: list[int] = []
    for part in names(text):
        match = re.fullmatch(r"(-?\d{1,9})(?:\.\.(\d{1,9}))?", part)
        if match is None or len(found) > MOST:
            raise BadInput(f"{flag} must be whole numbers with commas, such as 0,1,2 or 0..15; got {text!r}.")
        first, last = int(match[1]), int(match[2] or match[1])
        found += range(first, min(last, first + MOST) + 1)
    return tuple(found)
