"""How the pocket reasoner's teachers solve a problem: a first pass, a check that takes another road, another pass.

Each solver knows one family. It writes into a `Draft` and computes with the numbers it *wrote*, so that a slip runs on
into the answer, and a check finds it: by undoing the work from the answer, or by doing it in another order.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from satisfice.made.draft import Draft


class Solver(Protocol):
    """One problem, solvable in several ways. Passes return the answer they wrote; checks say whether it held."""

    @property
    def size(self) -> int:
        """How many steps one pass takes."""

    def first(self, draft: Draft) -> int: ...

    def check(self, draft: Draft, answer: int) -> bool: ...

    def again(self, draft: Draft) -> int: ...


def look_back(draft: Draft, chance: float, value: int, sign: str, amount: int, before: int) -> bool:
    """Sometimes check the step just written by undoing it; False if that fails, and the step is to be done again."""
    if draft.rng.random() >= chance:
        return True
    draft.cue(f"{value}{sign}{amount}=")
    undone = value - amount if sign == "-" else value + amount
    return draft.compare(draft.result(undone), before)


@dataclass(frozen=True)
class ChainSum:
    """`361 - 220 + 607`: add up from the left; undo from the right; or start from the last term that is added."""

    terms: tuple[int, ...]  # signed

    @classmethod
    def parse(cls, question: str) -> "ChainSum":
        expression = re.findall(r"[-+]?\s*\d+", question.rpartition(":")[2])
        return cls(tuple(int(term.replace(" ", "")) for term in expression))

    @property
    def size(self) -> int:
        return len(self.terms) - 1

    def first(self, draft: Draft) -> int:
        look = draft.rng.randrange(2 * self.size)  # half of the chains look back once, at a random step
        return _walk(draft, self.terms[0], self.terms[1:], look)

    def check(self, draft: Draft, answer: int) -> bool:
        other = self._other_order()
        if other and draft.rng.random() < 0.3:
            draft.cue("other order ")
            return draft.compare(_walk(draft, other[0], other[1:], end=False), answer)
        draft.cue("back ")
        undone = _walk(draft, answer, [-term for term in reversed(self.terms[1:])], end=False)
        return draft.compare(undone, self.terms[0])

    def again(self, draft: Draft) -> int:
        other = self._other_order()
        if other and draft.rng.random() < 0.6:
            draft.cue("other order ")
            return _walk(draft, other[0], other[1:])
        draft.cue("again ")
        return _walk(draft, self.terms[0], self.terms[1:])

    def _other_order(self) -> tuple[int, ...]:
        last = max(place for place, term in enumerate(self.terms) if place == 0 or term >= 0)
        if last == 0 or len(self.terms) < 3:
            return ()
        rest = self.terms[:last] + self.terms[last + 1 :]
        return (self.terms[last], *reversed(rest))


def _walk(draft: Draft, start: int, moves: Sequence[int], look: int = -1, end: bool = True) -> int:
    value = start
    draft.say(str(start))
    for place, move in enumerate(moves):
        before = value
        draft.say(f"{_sign(move)}{abs(move)}=")
        value = draft.result(before + move)
        if place < len(moves) - 1 or end:
            draft.end()
        if place == look and not look_back(draft, 1.0, value, _sign(-move), abs(move), before):
            draft.say(f"{before}{_sign(move)}{abs(move)}=")
            value = draft.result(before + move)
            draft.end()
    return value


def _sign(move: int) -> str:
    return "-" if move < 0 else "+"


@dataclass(frozen=True)
class Products:
    """`361 * 220`: by the digits of the second factor; to check, by those of the first. Small factors: in a row."""

    factors: tuple[int, ...]

    @classmethod
    def parse(cls, question: str) -> "Products":
        return cls(tuple(int(factor) for factor in re.findall(r"-?\d+", question)))

    @property
    def size(self) -> int:
        return len(self.factors) - 1 if len(self.factors) > 2 else max(2 * len(str(abs(self.factors[1]))) - 1, 1)

    def first(self, draft: Draft) -> int:
        return self._pass(draft, self.factors, chance=0.2)

    def check(self, draft: Draft, answer: int) -> bool:
        draft.cue("other order ")
        return draft.compare(self._pass(draft, self.factors[::-1], end=False), answer)

    def again(self, draft: Draft) -> int:
        other = draft.rng.random() < 0.5
        draft.cue("other order " if other else "again ")
        return self._pass(draft, self.factors[::-1] if other else self.factors)

    def _pass(self, draft: Draft, factors: tuple[int, ...], chance: float = 0.0, end: bool = True) -> int:
        value = factors[0]
        if len(factors) > 2:
            draft.say(str(value))
            for place, factor in enumerate(factors[1:], 2):
                draft.say(f"*{factor}=")
                value = draft.result(value * factor)
                if end or place < len(factors):
                    draft.end()
            return value
        digits = str(factors[1])
        parts = [
            int(digit) * 10**place
            for digit, place in zip(digits, range(len(digits) - 1, -1, -1), strict=True)
            if digit != "0"
        ]
        return _add_up(draft, [(str(value), value, part) for part in parts or [0]], chance, end)


def _add_up(draft: Draft, items: list[tuple[str, int, int]], chance: float, end: bool = True) -> int:
    """Multiply each (label, count, amount) and add it to the total."""
    total = 0
    for place, (label, count, amount) in enumerate(items):
        draft.say(f"{label}*{amount}=")
        product = draft.result(count * amount)
        before = total
        total = product
        if place:
            draft.say(f" {before}+{product}=")
            total = draft.result(before + product)
        if end or place < len(items) - 1:
            draft.end()
        if place and end and not look_back(draft, chance, total, "-", product, before):
            draft.say(f"{before}+{product}=")
            total = draft.result(before + product)
            draft.end()
    return total


LEGS = {
    0: "snake, sea slug, jellyfish, flatworm, leech",
    2: "chicken, bird, human, duck",
    4: "dog, cat, cow, horse, lion, elephant, giraffe, tiger, deer, sheep",
    5: "starfish",
    6: "insect, ant, butterfly, beetle, bee, wasp, grasshopper, cricket, cockroach, praying mantis, firefly",
    8: "spider, scorpion",
    10: "crab, lobster, shrimp",
    14: "woodlouse",
}
LEGS_OF = {animal: legs for legs, animals in LEGS.items() for animal in animals.split(", ")}


@dataclass(frozen=True)
class LegCounting:
    """`13 woodlouses, 8 leechs`: multiply and add from the left; take away from the answer to check, from the right."""

    animals: tuple[tuple[int, str, int], ...]  # how many, the word as it stands in the question, legs of each

    @classmethod
    def parse(cls, question: str) -> "LegCounting":
        found = re.findall(r"(\d+) ([a-z ]+)", question.rpartition("if you have")[2])
        return cls(tuple((int(count), name, LEGS_OF.get(name) or LEGS_OF.get(name[:-1]) or 0) for count, name in found))

    @property
    def size(self) -> int:
        return 2 * len(self.animals) - 1

    def first(self, draft: Draft) -> int:
        return self._pass(draft, 0.5 / len(self.animals))

    def check(self, draft: Draft, answer: int) -> bool:
        draft.cue("back ")
        left = answer
        for place, (count, name, legs) in enumerate(reversed(self.animals)):
            if place:
                draft.end()
            draft.say(f"{count} {name}*{legs}=")
            product = draft.result(count * legs)
            draft.say(f" {left}-{product}=")
            left = draft.result(left - product)
        return draft.compare(left, 0)

    def again(self, draft: Draft) -> int:
        other = draft.rng.random() < 0.6
        draft.cue("other order " if other else "again ")
        return self._pass(draft, 0.0, other)

    def _pass(self, draft: Draft, chance: float, backwards: bool = False) -> int:
        animals = self.animals[::-1] if backwards else self.animals
        return _add_up(draft, [(f"{count} {name}", count, legs) for count, name, legs in animals], chance)


@dataclass
class Gcd:
    """`780, 461`: Euclid's remainders going down; to check, multiply and add back up to the larger number."""

    big: int
    small: int
    steps: list[tuple[int, int, int]] = field(default_factory=list)  # of the last pass: quotient, divisor, remainder

    @classmethod
    def parse(cls, question: str) -> "Gcd":
        first, second = (int(number) for number in re.findall(r"\d+", question))
        return cls(max(first, second), min(first, second))

    @property
    def size(self) -> int:
        big, small, steps = self.big, self.small, 0
        while small:
            big, small, steps = small, big % small, steps + 1
        return steps

    def first(self, draft: Draft) -> int:
        return self._pass(draft, 0.5 / self.size)

    def check(self, draft: Draft, answer: int) -> bool:
        draft.cue("back ")
        value, rest = answer, 0
        for place, (quotient, _, _) in enumerate(reversed(self.steps)):
            if place:
                draft.end()
            value, rest = _rebuild(draft, quotient, value, rest), value
        return draft.compare(value, self.big)

    def again(self, draft: Draft) -> int:
        draft.cue("again ")
        return self._pass(draft, 0.0)

    def _pass(self, draft: Draft, chance: float) -> int:
        self.steps = []
        number, divisor = self.big, self.small
        while divisor:
            quotient = number // divisor
            product = quotient * divisor
            if quotient > 1:
                draft.say(f"{quotient}*{divisor}={product} ")
            draft.say(f"{number}-{product}=")
            rest = draft.result(number - product, below=divisor)
            draft.end()
            if not look_back(draft, chance, rest, "+", product, number):
                draft.say(f"{number}-{product}=")
                rest = draft.result(number - product, below=divisor)
                draft.end()
            self.steps.append((quotient, divisor, rest))
            number, divisor = divisor, rest
        return number


def _rebuild(draft: Draft, quotient: int, value: int, rest: int) -> int:
    """Write quotient * value + rest, leaving out a factor of one and a rest of nothing."""
    product = value
    if quotient > 1 or not rest:
        draft.say(f"{quotient}*{value}=")
        product = draft.result(quotient * value)
    if not rest:
        return product
    draft.say(f"{' ' if quotient > 1 else ''}{product}+{rest}=")
    return draft.result(product + rest)


SOLVERS: Mapping[str, Callable[[str], Solver]] = {
    "chain-sum": ChainSum.parse,
    "products": Products.parse,
    "leg-counting": LegCounting.parse,
    "gcd": Gcd.parse,
}
