"""A chain of thought while it is being written: its text, the slips in it, and where a reader might cut it."""

import random
from dataclasses import dataclass, field

CUES = ("Check", "Wait,", "Hmm,")  # each begins a line and is drawn without looking at whether the work is right
EQUAL_UNGRADED = 0.8


@dataclass
class Draft:
    """Text of one chain, grown line by line.

    A *slip* is a number that is wrong on purpose. Its characters are listed in `hidden`, so training can leave them
    out of the loss: a model that reads them learns to find mistakes, one that is graded on them learns to make
    mistakes. What follows a slip is computed from the wrong number, as a person would.
    """

    rng: random.Random
    slip_rate: float  # chance that one written result is wrong
    text: str = ""
    hidden: list[tuple[int, int]] = field(default_factory=list)  # character spans that carry no loss
    cues: list[int] = field(default_factory=list)  # where lines start that begin with a cue word
    lines: list[int] = field(default_factory=list)  # where every other line starts

    def say(self, text: str) -> None:
        self.text += text

    def end(self) -> None:
        self.text += "\n"
        self.lines.append(len(self.text))

    def cue(self, words: str = "") -> None:
        """Begin a line with a cue word drawn at random."""
        if self.lines and self.lines[-1] == len(self.text):
            self.cues.append(self.lines.pop())
        self.text += f"{self.rng.choice(CUES)} {words}"

    def result(self, value: int, below: int | None = None) -> int:
        """Write a number, now and then a wrong one (below `below`, if given), and return what was written."""
        if self.rng.random() >= self.slip_rate:
            self.text += str(value)
            return value
        wrong = slip(value, self.rng)
        if below is not None and not 0 <= wrong < below:
            wrong = self.rng.choice([other for other in range(below) if other != value] or [value + 1])
        self.hidden.append((len(self.text), len(self.text) + len(str(wrong))))
        self.text += str(wrong)
        return wrong

    def compare(self, found: int, wanted: int) -> bool:
        """Restate what a check compares, and say what comes of it (a check that only says `ok` is learned as a habit).

        Most checks find what they want, and a model soon copies the number before instead of looking up the one to
        compare it with. So where the two are equal the second is mostly left out of the loss; the verdict never is.
        """
        same = found == wanted
        if same and self.rng.random() < EQUAL_UNGRADED:
            self.hidden.append((len(self.text) + 1, len(self.text) + 1 + len(str(wanted))))
        self.text += f" {wanted} {'ok' if same else 'no'}"
        self.end()
        return same


def slip(value: int, rng: random.Random) -> int:
    """A wrong number of the kind that a tired person writes: a lost carry, a digit off, now and then the wrong sign."""
    digits = len(str(abs(value)))
    kind = rng.random()
    if kind < 0.5:  # a lost or doubled carry, or one digit off by one
        wrong = value + rng.choice((-1, 1)) * 10 ** rng.randrange(digits)
    elif kind < 0.9:  # one digit is something else
        place = 10 ** rng.randrange(digits)
        old = abs(value) // place % 10
        new = rng.choice([digit for digit in range(10) if digit != old])
        wrong = (abs(value) + (new - old) * place) * (-1 if value < 0 else 1)
    else:
        wrong = -value
    return wrong if wrong != value else value + 1
