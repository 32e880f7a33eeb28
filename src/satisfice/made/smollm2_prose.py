"""A chain of thought in plain English while it is being written: steps, slips, doubts, checks.

Paragraphs stand apart by an empty line; one that begins with a cue word is a second look. As in the pocket reasoner's
traces, a number that is wrong on purpose is kept out of the loss, what follows is computed from it, and a check takes
another road than the step that it checks and restates what it compares.
"""

import random
from dataclasses import dataclass, field

from satisfice.made.draft import slip

DOUBT = 0.12  # chance that a step is looked at again at once, whatever it says
RETRY = 0.5  # of the slip rate, when something is done again
WITHIN = 0.25  # of the slip rate, inside a check

_CHECKS = (
    "Wait, let me check that.",
    "Wait, is that right?",
    "Hmm, let me double check.",
    "Wait, I should verify this.",
)
_HOLDS = ("That fits.", "Good.", "Yes, that works.", "That matches.")
_FAILS = ("That does not fit.", "No, that is wrong.", "So something went wrong.", "That is not the same.")
_AGAIN = ("Let me do it again.", "I have to redo this.", "So once more, carefully.")


@dataclass(frozen=True)
class Done:
    """One written step: `left op right = result`, as it stands in the text."""

    left: int
    op: str
    right: int
    result: int


class Uneven(Exception):
    """A slip led to a division that does not come out even; the trace is thrown away."""


@dataclass
class Prose:
    """Text of one chain, grown sentence by sentence."""

    rng: random.Random
    slip_rate: float  # chance that one written result is wrong
    text: str = ""
    hidden: list[tuple[int, int]] = field(default_factory=list)  # character spans that carry no loss
    paragraphs: list[int] = field(default_factory=list)  # where each but the first begins
    done: list[Done] = field(default_factory=list)  # the steps of the pass under way

    def say(self, words: str) -> None:
        """Add a sentence to the paragraph."""
        self.text += words if not self.text or self.text[-1] in "\n " else f" {words}"

    def paragraph(self, words: str = "") -> None:
        """Begin a paragraph."""
        if self.text:
            self.text += "\n\n"
            self.paragraphs.append(len(self.text))
        self.text += words

    def line(self, words: str = "") -> None:
        """Begin a line within the paragraph."""
        self.text += ("\n" if self.text and self.text[-1] != "\n" else "") + words

    def choose(self, *words: str) -> str:
        """Return one of several wordings."""
        return self.rng.choice(words)

    def step(self, left: int, op: str, right: int, lead: str = "") -> int:
        """Write `lead left op right = result.` in a line of its own; return what was written.

        Raises:
            Uneven: a division has a remainder.
        """
        result = self._write(left, op, right, lead)
        self.done.append(Done(left, op, right, result))
        if self.rng.random() < DOUBT and op != "/":
            place = len(self.done) - 1
            self.paragraph(self.rng.choice(_CHECKS))
            if not self._undo(self.done[place]):
                self.say(self.rng.choice(_AGAIN))
                result = self._write(left, op, right, "")
                self.done[place] = Done(left, op, right, result)
        return result

    def product(self, left: int, right: int, lead: str = "") -> int:
        """Return a product, by the digits of its smaller factor where both have several."""
        small, large = sorted((left, right), key=abs)
        if abs(small) < 10 or abs(large) < 10 or abs(small) % 10 ** (len(str(abs(small))) - 1) == 0:
            return self.step(left, "*", right, lead)
        sign, digits = (-1 if small < 0 else 1), str(abs(small))
        parts = [int(d) * 10 ** (len(digits) - 1 - place) for place, d in enumerate(digits) if d != "0"]
        self.line(
            f"{lead + ' ' if lead else ''}For {left} * {right}, split {abs(small)} into {' + '.join(map(str, parts))}."
        )
        total = self.step(abs(large), "*", parts[0])
        for part in parts[1:]:
            total = self.step(total, "+", self.step(abs(large), "*", part))
        if sign * large < 0:
            self.line(f"One factor is negative, so it is {-total}.")
            return -total
        return total

    def check(self) -> bool:
        """Look at every step of the pass again by undoing it; stop at the first that fails."""
        rate, self.slip_rate = self.slip_rate, self.slip_rate * WITHIN
        holds = all(self._undo(done, fresh_line=True) for done in self.done)
        self.slip_rate = rate
        return holds

    def _write(self, left: int, op: str, right: int, lead: str) -> int:
        if op == "/" and (right == 0 or left % right):
            raise Uneven
        value = {"+": left + right, "-": left - right, "*": left * right}.get(op)
        self.line(f"{lead + ' ' if lead else ''}{left} {op} {right} = ")
        result = self.number(left // right if value is None else value)
        self.text += "."
        return result

    def number(self, value: int) -> int:
        """Write a number, now and then a wrong one, and return what was written."""
        if self.rng.random() >= self.slip_rate:
            self.text += str(value)
            return value
        wrong = slip(value, self.rng)
        self.hidden.append((len(self.text), len(self.text) + len(str(wrong))))
        self.text += str(wrong)
        return wrong

    def _undo(self, done: Done, fresh_line: bool = False) -> bool:
        """Undo one step and compare with what went in."""
        left, op, right, result = done.left, done.op, done.right, done.result
        if fresh_line:
            self.line()
        if op == "*" and (right == 0 or left == 0):
            same = result == 0
            self.say(f"Something times 0 is 0, and I wrote {result}.")
        elif op == "*" and result % right:
            self.say(f"{result} / {right} does not come out even.")
            same = False
        else:
            back, value = {
                "+": ("-", result - right), "-": ("+", result + right), "/": ("*", result * right),
            }.get(op) or ("/", result // right)  # fmt: skip
            self.say(f"{result} {back} {right} = ")
            same = self.number(value) == left
            self.text += f", and it should be {left}."
        self.say(self.rng.choice(_HOLDS if same else _FAILS))
        return same
