"""The settings of a plan: a field with a `Flag` is checked here, named in the plan's config, and a flag of its command.

    @dataclass(frozen=True, kw_only=True)
    class TrainPlan:
        steps: Annotated[int, Range(1), Flag("Batches of rollouts.")] = 100

Fields without a `Flag` hold what names are resolved to (tasks, methods); a command has parameters of its own for those.
"""

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.fields import FieldType, field_type


@dataclass(frozen=True)
class Flag:
    """What a person should know about a setting, beside its type and its range."""

    help: str
    decides: bool = True  # whether it can change the result: runs that differ in it are different runs
    name: str = ""  # on the command line, where that is not the field's


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of a plan that a person can set."""

    field: str
    flag: Flag
    takes: FieldType  # of each, where there are several
    several: bool  # a tuple of them
    default: Any  # `dataclasses.MISSING`: it must be given

    @property
    def name(self) -> str:
        """What it is called on the command line and in messages: `max-tokens`."""
        return self.flag.name or self.field.replace("_", "-")


def settings(plan: type) -> Iterator[Setting]:
    """Yield the settings of a plan in the order of its fields."""
    hints = get_type_hints(plan, include_extras=True)
    for field in dataclasses.fields(plan):
        hint = hints[field.name]
        notes = get_args(hint)[1:] if get_origin(hint) is typing.Annotated else ()
        flag = next((note for note in notes if isinstance(note, Flag)), None)
        if flag is None:
            continue
        inner = get_args(hint)[0]
        several = get_origin(inner) is tuple
        if several:
            bounds = tuple(note for note in notes if not isinstance(note, Flag))
            hint = typing.Annotated[(get_args(inner)[0], *bounds)] if bounds else get_args(inner)[0]
        yield Setting(field=field.name, flag=flag, takes=field_type(hint), several=several, default=field.default)


def check_settings(plan: Any) -> None:
    """Raise `BadInput` when a setting of a plan has a wrong type or is out of range; for its `__post_init__`."""
    for setting in settings(type(plan)):
        value = getattr(plan, setting.field)
        for one in value if setting.several else (value,):
            if setting.takes.fits(one):
                continue
            if setting.takes.choices and isinstance(one, str):
                raise UnknownName(setting.name, one, setting.takes.choices)
            raise BadInput(f"{setting.name} must be {setting.takes}, got {one!r}.")


def deciding(plan: Any) -> dict[str, Any]:
    """Return the settings of a plan that can change its result, by field, as JSON-able values."""
    found = {s.field: getattr(plan, s.field) for s in settings(type(plan)) if s.flag.decides}
    return {field: list(value) if isinstance(value, tuple) else value for field, value in found.items()}
