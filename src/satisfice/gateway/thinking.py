"""How much thinking a request asks for, in every spelling that people send; pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from satisfice.core.errors import BadInput
from satisfice.gateway.body import Body

EFFORT: dict[str, float] = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 1.0}
"""The share of the longest chain that may be thinking, as OpenRouter has it; `none` is no thinking."""

SPELLINGS: tuple[tuple[str, Literal["budget", "switch", "effort"]], ...] = (
    ("thinking_token_budget", "budget"),
    ("thinking_budget", "budget"),
    ("thinking_budget_tokens", "budget"),
    ("reasoning_budget_tokens", "budget"),
    ("reasoning_tokens", "budget"),
    ("thinking.budget_tokens", "budget"),
    ("reasoning.max_tokens", "budget"),
    ("chat_template_kwargs.thinking_budget", "budget"),
    ("custom_params.thinking_budget", "budget"),
    ("reasoning_effort", "effort"),
    ("reasoning.effort", "effort"),
    ("chat_template_kwargs.reasoning_effort", "effort"),
    ("thinking.type", "switch"),
    ("reasoning.enabled", "switch"),
    ("enable_thinking", "switch"),
    ("think", "switch"),
    ("chat_template_kwargs.enable_thinking", "switch"),
    ("chat_template_kwargs.thinking", "switch"),
)


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much thinking is wanted. `said` names the field that says so, for errors."""

    on: bool = True
    tokens: int | None = None  # at most
    share: float | None = None  # at most, of the longest chain
    automatic: bool = False  # a rule is to decide
    said: str = ""


EVERYTHING = Amount()
"""As much thinking as the model likes."""


def amount_of(body: Body) -> Amount:
    """Return the one amount that a request asks for.

    Raises:
        BadInput: it asks for two that differ.
    """
    asked = list(_asked(body))
    for name, amount in asked:
        for other, second in asked:
            if not _agree(amount, second):
                raise BadInput(
                    f"{name} and {other} say different things about thinking ({_value(body, name)!r} and "
                    f"{_value(body, other)!r}). Send one of them; thinking_token_budget is enough."
                )
    limits = [amount for _, amount in asked if not amount.on or amount.tokens is not None or amount.share is not None]
    if limits:
        return replace(limits[0], automatic=any(amount.automatic for _, amount in asked))
    return next((amount for _, amount in asked if amount.automatic), Amount())


def _asked(body: Body) -> Iterator[tuple[str, Amount]]:
    for name, kind in SPELLINGS:
        value = _value(body, name)
        if value is None:
            continue
        if value == "adaptive":
            yield name, Amount(automatic=True, said=name)
        elif kind == "budget":
            yield name, Amount(on=value != 0, tokens=value if value > 0 else None, said=name)
        elif kind == "effort":
            share = EFFORT.get(value)
            yield name, Amount(on=value != "none", share=share if share != 1 else None, said=name)
        else:
            yield name, Amount(on=value in (True, "enabled"), said=name)


def _agree(a: Amount, b: Amount) -> bool:
    def differ(x: float | None, y: float | None) -> bool:
        return x is not None and y is not None and x != y

    limited = (a.tokens is not None, b.share is not None) == (True, True)
    return a.on == b.on and not differ(a.tokens, b.tokens) and not differ(a.share, b.share) and not limited


def _value(body: Body, name: str) -> Any:
    field, _, inner = name.partition(".")
    value = getattr(body, field)
    return getattr(value, inner) if inner and value is not None else value
