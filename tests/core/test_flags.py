"""The settings of plans: what is read from their fields, what is refused, what makes two runs the same."""

from dataclasses import MISSING, dataclass
from typing import Annotated, Any, Literal

import pytest

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.fields import Range
from satisfice.core.flags import Flag, check_settings, deciding, settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    model: object  # no flag: made from a name
    steps: Annotated[int, Range(1), Flag("Steps.")]
    share: Annotated[float | None, Range(0, 1), Flag("A share.")] = None
    seeds: Annotated[tuple[int, ...], Range(0), Flag("Seeds.")] = (0,)
    at: Annotated[tuple[Literal["cue", "step"], ...], Flag("Where.")] = ("cue",)
    asks: Annotated[tuple[str, ...], Flag("Texts.", name="ask")] = ()
    save_every: Annotated[int, Range(1), Flag("Between checkpoints.", decides=False)] = 10

    def __post_init__(self) -> None:
        check_settings(self)


def test_settings_are_read_from_the_fields() -> None:
    found = list(settings(Plan))
    assert [setting.name for setting in found] == ["steps", "share", "seeds", "at", "ask", "save-every"]
    assert found[0].default is MISSING
    assert [setting.several for setting in found] == [False, False, True, True, True, False]
    assert str(found[1].takes) == "a number (from 0 to 1), or none"
    assert found[3].takes.choices == ("cue", "step")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, r"steps must be a whole number \(at least 1\), got 0"),
        ({"steps": True}, "steps must be a whole number"),
        ({"share": 1.5}, "share must be a number"),
        ({"share": float("nan")}, "share must be a number"),
        ({"seeds": (0, -1)}, r"seeds must be a whole number \(at least 0\), got -1"),
        ({"save_every": 0}, "save-every must be"),
        ({"asks": (1,)}, "ask must be text, got 1"),
    ],
)
def test_what_is_out_of_range_is_refused_in_the_words_of_the_command_line(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        Plan(**{"model": "m", "steps": 3, **changes})


def test_a_word_that_is_no_choice_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown at 'stepp'. Did you mean 'step'"):
        Plan(model="m", steps=3, at=("cue", "stepp"))


def test_what_decides_is_named_and_what_does_not_is_left_out() -> None:
    plan = Plan(model="m", steps=3, seeds=(1, 2), save_every=5)
    assert deciding(plan) == {"steps": 3, "share": None, "seeds": [1, 2], "at": ["cue"], "asks": []}
