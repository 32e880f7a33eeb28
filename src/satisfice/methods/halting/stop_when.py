"""Stop when a condition on the metrics holds: a comparison, or several joined by and, or, not."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import check_fields
from satisfice.core.halter import Decision, Observation, State

LONGEST = 500  # characters
DEEPEST = 20  # parentheses within parentheses
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][\w/.@-]*)|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<sign><=|>=|<|>|\(|\)))"
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

Condition = Callable[[Observation], bool]


@dataclass(frozen=True, kw_only=True)
class StopWhen:
    """Stop when a condition on the metrics holds.

    A condition is a comparison of a metric with a number (`net<-0.01`), or several joined by `and`, `or`, `not` and
    parentheses, as in Python: `net<-0.01 or (gain<0.005 and step>=20)`. It is parsed, never run as code. `step`
    is how far the run is, unless a metric has that name.
    """

    card: ClassVar = Card(
        id="stop-when", paper="", where="a condition on metrics", needs=frozenset(), fidelity="standard"
    )

    condition: str = "net<-0.01 or gain<0.005"  # metrics, numbers, < <= > >=, and, or, not, parentheses

    def __post_init__(self) -> None:
        check_fields(self)
        parse(self.condition)

    def init(self) -> State:
        return {}

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        stop = parse(self.condition).holds(observation)
        names = parse(self.condition).metrics
        seen = {name: _value(observation, name) for name in names}
        told = ", ".join(f"{name} is {value:.4g}" for name, value in seen.items())
        return state, Decision(stop=stop, why=f"{self.condition} ({told})" if stop else "", metrics=seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parsed:
    """A condition that was read: what it says, and the metrics that it names."""

    holds: Condition
    metrics: tuple[str, ...]


@lru_cache(256)
def parse(text: str) -> Parsed:
    """Read a condition.

    >>> parse("net<-0.01 or not (gain>=0.005)").metrics
    ('net', 'gain')
    >>> parse("net<-0.01 or gain<0.005").holds(Observation(at=1, metrics={"net": 0.0, "gain": 0.001}))
    True

    Raises:
        BadInput: it cannot be read; what is wrong and where is told.
    """
    if len(text) > LONGEST:
        raise BadInput(f"condition: {len(text)} characters are too many; {LONGEST} at most.")
    reader = _Reader(text)
    holds = reader.either(0)
    if reader.now is not None:
        reader.fail("and, or, or the end")
    return Parsed(holds=holds, metrics=tuple(dict.fromkeys(reader.names)))


class _Reader:
    """A recursive descent over tokens: either := both (or both)*, both := one (and one)*."""

    def __init__(self, text: str) -> None:
        self.text, self.names = text, list[str]()
        self._tokens = self._split(text)
        self.now: tuple[str, str] | None = next(self._tokens, None)

    def _split(self, text: str) -> Iterator[tuple[str, str]]:
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise BadInput(f"condition {text!r}: {text[at:].strip()[:20]!r} cannot be read. Example: net<-0.01.")
            yield found.lastgroup, found[found.lastgroup]
            at = found.end()

    def fail(self, wanted: str) -> None:
        got = "the end" if self.now is None else repr(self.now[1])
        raise BadInput(f"condition {self.text!r}: expected {wanted}, got {got}. Example: net<-0.01 or gain<0.005.")

    def take(self, kind: str, wanted: str, *values: str) -> str:
        if self.now is None or self.now[0] != kind or (values and self.now[1] not in values):
            self.fail(wanted)
        assert self.now is not None
        value = self.now[1]
        self.now = next(self._tokens, None)
        return value

    def word(self, word: str) -> bool:
        """Take a word if it is next."""
        if self.now == ("name", word):
            self.now = next(self._tokens, None)
            return True
        return False

    def either(self, depth: int) -> Condition:
        parts = [self.both(depth)]
        while self.word("or"):
            parts.append(self.both(depth))
        return lambda seen: any(part(seen) for part in parts)

    def both(self, depth: int) -> Condition:
        parts = [self.one(depth)]
        while self.word("and"):
            parts.append(self.one(depth))
        return lambda seen: all(part(seen) for part in parts)

    def one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise BadInput(f"condition: parentheses go at most {DEEPEST} deep.")
        if self.word("not"):
            inner = self.one(depth + 1)
            return lambda seen: not inner(seen)
        if self.now == ("sign", "("):
            self.now = next(self._tokens, None)
            held = self.either(depth + 1)
            self.take("sign", "a closing parenthesis", ")")
            return held
        if self.now is not None and self.now[1] in ("and", "or"):
            self.fail("a metric")
        name = self.take("name", "a metric")
        self.names.append(name)
        compare = _COMPARE[self.take("sign", "<, <=, > or >=", *_COMPARE)]
        limit = float(self.take("number", "a number"))
        return lambda seen: compare(_value(seen, name), limit)


def _value(seen: Observation, name: str) -> float:
    return seen.at if name == "step" and name not in seen.metrics else seen.value(name)
