"""What a request to a server asks of our filters, and doing it for the rows of a batch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from satisfice.catalog import check_fit, parse_sampler
from satisfice.core.card import Need
from satisfice.core.errors import BadInput, Unfit
from satisfice.methods.sampling import Truncation

FIELD = "sampler"


def asked(params: Any) -> Truncation | None:
    """The filters that a request names in `extra_args`, None if it names none; `params` are its sampling parameters.

    Raises:
        BadInput: a text that cannot be read, or a filter that a server cannot run.
    """
    text = (getattr(params, "extra_args", None) or {}).get(FIELD)
    if text is None:
        return None
    if not isinstance(text, str):
        raise BadInput(f"{FIELD} must be a text such as 'top-n-sigma:1', got {text!r}.")
    truncation = parse_sampler(text, temperature=float(params.temperature))
    try:
        check_fit(truncation.filters, "vLLM", frozenset({Need.LOGITS}))
    except Unfit as error:  # vLLM answers a ValueError with status 400, and any other error with 500
        raise BadInput(str(error)) from error
    return truncation


def cut(logits: torch.Tensor, wanted: Mapping[int, Truncation], *, tempered: bool) -> torch.Tensor:
    """Put -inf into the rows that want filters; rows that want the same ones are filtered together.

    `wanted` maps rows of `logits` `[rows, vocab]` to their filters; `tempered` says whether the scores were divided by
    the temperature already. Greedy rows are left alone.
    """
    groups: dict[Truncation, list[int]] = {}
    for row, truncation in wanted.items():
        if truncation.temperature > 0 and row < len(logits):
            groups.setdefault(truncation, []).append(row)
    for truncation, rows in groups.items():
        index = torch.tensor(rows, device=logits.device)
        scores = logits[index]
        kept = (truncation if tempered else truncation.process)(scores)
        logits[index] = scores.masked_fill(kept == -math.inf, -math.inf)
    return logits


def moved(wanted: dict[int, Truncation], moves: Sequence[tuple[int, int, bool]]) -> None:
    """Follow requests to other rows: (from, to, whether they swap)."""
    for old, new, swap in moves:
        here, there = wanted.pop(old, None), wanted.pop(new, None)
        if here is not None:
            wanted[new] = here
        if swap and there is not None:
            wanted[old] = there
