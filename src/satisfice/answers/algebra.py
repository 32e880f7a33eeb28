"""Compare expressions with math-verify. This runs in a process of its own: what it parses was written by a model."""

import functools
import logging
from typing import Any

from satisfice.answers.compare import NeedsAlgebra, compare, without
from satisfice.answers.notation import balanced, plain

DIGITS = 40  # to which two exact values must agree
ROUNDED = 1e-4  # how far, of its size, a value with decimals may be from another; math-verify sees to absolute distance


def equal(answer: str, gold: str) -> bool:
    """Return whether two answers are equal; whatever the libraries raise goes to whoever asked."""
    return compare(answer, gold, _algebra)


def readable(gold: str) -> bool:
    """Return whether a reference can be compared: its kind is known, or it is equal to itself and not to a failure."""
    text = plain(gold)
    try:
        if not text or _decided(text):
            return bool(text)
        _algebra("1", text)  # to be equal to itself it need not be evaluated; to differ from a number it must
        return _algebra(text, text)
    except Exception:  # noqa: BLE001  (whatever the libraries trip over)
        return False


def _decided(text: str) -> bool:
    """Return whether a text can be told from a number without algebra."""
    try:
        compare("1", text, without)
    except NeedsAlgebra:
        return False
    return True


def load() -> None:
    """Import the libraries, so that the first answer does not wait for them."""
    import math_verify  # noqa: F401

    logging.disable(logging.CRITICAL)


def _algebra(answer: str, gold: str) -> bool:
    from math_verify import verify

    expected, found = _read(gold), _read(answer)
    if not expected:
        raise ValueError(f"the reference {gold[:80]!r} cannot be read")
    return (
        bool(found)
        and bool(verify(expected, found, timeout_seconds=None, raise_on_error=True))
        and _close(expected[0], found[0])
    )


@functools.lru_cache(256)
def _read(text: str) -> list[Any]:
    # As LaTeX first, which also reads plain numbers and sums; what breaks out of the braces is read as prose.
    from math_verify import parse

    whole = parse(f"\\boxed{{{text}}}", parsing_timeout=None) if balanced(text) else []
    return whole or parse(text, parsing_timeout=None)


def _close(a: Any, b: Any) -> bool:
    """Return whether two expressions that are equal after rounding are equal for their size too."""
    from sympy import Expr, Rational

    if not (isinstance(a, Expr) and isinstance(b, Expr)):
        return True
    if a == b:
        return True
    names = sorted(a.free_symbols | b.free_symbols, key=str)
    point = {name: Rational(2 * place + 5, place + 3) for place, name in enumerate(names)}
    return _close_numbers(a.subs(point), b.subs(point)) if names else _close_numbers(a, b)


def _close_numbers(a: Any, b: Any) -> bool:
    from sympy import Float, N, nan, zoo

    if not (a.is_number and b.is_number) or a.has(nan, zoo) or b.has(nan, zoo):
        return True
    rounded = a.has(Float) or b.has(Float)
    if a.is_Rational and b.is_Rational and not rounded:
        return bool(a == b)
    x, y = N(a, DIGITS + 10), N(b, DIGITS + 10)
    size = max(abs(x), abs(y))
    return bool(size == 0 or abs(x - y) <= (ROUNDED if rounded else 10.0**-DIGITS) * size)
