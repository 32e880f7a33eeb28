"""Countdown and mini sudoku: problems from reasoning-gym in short form, their search written down, and exact verifiers.

A problem is asked in one line, `3 7 12 = 33` or `2__3/__1_/1_3_/3_21`. A *backtracking* trace is the depth-first search
for the answer, dead ends included; the *direct* form is the answer alone.
"""

import ast
import itertools
import operator
import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
COUNTDOWN = {
    "min_numbers": 3, "max_numbers": 3, "min_value": 1, "max_value": 25, "min_target": 10, "max_target": 99,
}  # fmt: skip
SUDOKU = {"min_empty": 8, "max_empty": 12}


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """One problem in short form."""

    family: str  # countdown or sudoku
    question: str
    numbers: tuple[int, ...]  # to use, or the sixteen cells by rows, 0 for an empty one
    target: int = 0

    @property
    def trace(self) -> str:
        """The search, a line a move."""
        return "\n".join((_countdown if self.family == "countdown" else _sudoku)(self)[0]) + "\n"

    @property
    def answer(self) -> str:
        """The answer that the search finds."""
        return (_countdown if self.family == "countdown" else _sudoku)(self)[1]

    def right(self, answer: str) -> bool:
        """Whether an answer, any answer, solves it."""
        return (_solves if self.family == "countdown" else _fills)(self, answer.strip())


def puzzles(family: str, seed: int) -> Iterator[Puzzle]:
    """Problems without end, each once."""
    import reasoning_gym

    name, config = ("countdown", COUNTDOWN) if family == "countdown" else ("mini_sudoku", SUDOKU)
    seen = set()
    for part in itertools.count():
        for entry in reasoning_gym.create_dataset(name, size=500, seed=seed + 7919 * part, **config):
            puzzle = _short(family, entry["metadata"])
            if puzzle.question not in seen and (family == "sudoku" or _countdown(puzzle)[1]):
                seen.add(puzzle.question)
                yield puzzle


def drills(family: str, seed: int) -> Iterator[Puzzle]:
    """Problems to train on: sudokus are reasoning-gym's; for Countdown, which it makes slowly, numbers drawn here.

    The target is drawn from those within its range that the numbers reach, so that every problem has a solution.
    """
    if family != "countdown":
        yield from puzzles(family, seed)
        return
    rng = random.Random(seed)
    low, high = COUNTDOWN["min_target"], COUNTDOWN["max_target"]
    while True:
        numbers = tuple(rng.randint(COUNTDOWN["min_value"], COUNTDOWN["max_value"]) for _ in range(3))
        ends = [line for line in _countdown(_asked(numbers, 0))[0] if line.endswith("x")]
        reached = sorted({value for line in ends if low <= (value := int(line.partition("=")[2].split()[0])) <= high})
        if reached:
            yield _asked(numbers, rng.choice(reached))


def _asked(numbers: tuple[int, ...], target: int) -> Puzzle:
    question = f"{' '.join(map(str, numbers))} = {target}"
    return Puzzle(family="countdown", question=question, numbers=numbers, target=target)


def _short(family: str, about: dict[str, Any]) -> Puzzle:
    if family == "countdown":
        return _asked(tuple(about["numbers"]), about["target"])
    cells = tuple(cell for row in about["puzzle"] for cell in row)
    text = "".join(str(cell or "_") for cell in cells)
    return Puzzle(family=family, question="/".join(text[i : i + 4] for i in range(0, 16, 4)), numbers=cells)


# Countdown


def _countdown(puzzle: Puzzle) -> tuple[list[str], str]:
    """Lines of the search and the expression found; an empty one when whole numbers do not reach the target."""
    lines: list[str] = []

    def search(state: tuple[tuple[int, str], ...]) -> str:
        if len(state) == 1:
            return state[0][1] if state[0][0] == puzzle.target else ""
        for i, j in itertools.combinations(range(len(state)), 2):
            rest = tuple(state[k] for k in range(len(state)) if k not in (i, j))
            for value, sign, (a, b) in _moves(state[i], state[j]):
                left = (*rest, (value, f"({a[1]}{sign}{b[1]})"))
                shown = "".join(f" {number}" for number, _ in rest)
                if not rest:  # the end of a branch, where the search says whether it is the target
                    shown = f" {puzzle.target}{'=' if value == puzzle.target else 'x'}"
                lines.append(f"{a[0]}{sign}{b[0]}={value}{shown}")
                if found := search(left):
                    return found
        return ""

    found = search(tuple((number, str(number)) for number in puzzle.numbers))
    return lines, found[1:-1] if found.startswith("(") else found


def _moves(
    x: tuple[int, str], y: tuple[int, str]
) -> Iterator[tuple[int, str, tuple[tuple[int, str], tuple[int, str]]]]:
    """What two numbers can become: sums, products, differences above 0, divisions without a rest."""
    high, low = (x, y) if x[0] >= y[0] else (y, x)
    yield high[0] + low[0], "+", (high, low)
    if high[0] > low[0]:
        yield high[0] - low[0], "-", (high, low)
    if low[0] > 1:
        yield high[0] * low[0], "*", (high, low)
        if high[0] % low[0] == 0:
            yield high[0] // low[0], "/", (high, low)


def _solves(puzzle: Puzzle, answer: str) -> bool:
    """Whether an expression uses every number once and comes to the target; nothing but arithmetic is looked at."""
    if len(answer) > 100:
        return False
    try:
        tree = ast.parse(answer, mode="eval").body
        used: list[int] = []
        return _value(tree, used) == puzzle.target and sorted(used) == sorted(puzzle.numbers)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return False


def _value(node: ast.expr, used: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return Fraction(OPERATORS[type(node.op)](_value(node.left, used), _value(node.right, used)))
    raise ValueError("no arithmetic")


# Mini sudoku


def _sudoku(puzzle: Puzzle) -> tuple[list[str], str]:
    """Lines `place digit` of the search, a dead end as `x`, and the filled grid."""
    cells, lines = list(puzzle.numbers), list[str]()
    empty = [i for i, cell in enumerate(cells) if not cell]

    def search(depth: int) -> bool:
        if depth == len(empty):
            return True
        at = empty[depth]
        for digit in (1, 2, 3, 4):
            if all(cells[k] != digit for k in _peers(at)):
                cells[at] = digit
                lines.append(f"{'abcd'[at // 4]}{at % 4 + 1} {digit}")
                if search(depth + 1):
                    return True
                cells[at] = 0
        lines.append(f"{'abcd'[at // 4]}{at % 4 + 1} x")
        return False

    search(0)
    return lines, "/".join("".join(map(str, cells[i : i + 4])) for i in range(0, 16, 4))


def _peers(at: int) -> list[int]:
    row, column = divmod(at, 4)
    box = {(row // 2 * 2 + i) * 4 + column // 2 * 2 + j for i in (0, 1) for j in (0, 1)}
    return sorted(({row * 4 + k for k in range(4)} | {k * 4 + column for k in range(4)} | box) - {at})


def _fills(puzzle: Puzzle, answer: str) -> bool:
    text = answer.replace("/", "")
    if len(text) != 16 or not set(text) <= set("1234"):
        return False
    cells = [int(char) for char in text]
    given = all(clue in (0, cell) for clue, cell in zip(puzzle.numbers, cells, strict=True))
    return given and all(cells[i] != cells[k] for i in range(16) for k in _peers(i))
