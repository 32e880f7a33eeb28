"""How a teacher who writes plain English solves problems of several reasoning-gym families.

Each solver takes a question and writes one pass of work into a `Prose`. What it computes with is what it wrote, so a
slip runs on into the answer, where a check can find it.
"""

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from satisfice.made.smollm2_prose import Prose, Uneven
from satisfice.made.solvers import LEGS_OF

Work = Callable[[Prose], int]
"""Write one pass of work, return the answer that it comes to."""


class Unreadable(Exception):
    """A question that the solver of its family does not understand; it is left out."""


def arithmetic(question: str, entry: Mapping[str, Any]) -> Work:
    """`Calculate ( 56 + -33 ) * 2 - 84.` and chain sums: inner parentheses first, then in the order of the rules."""
    expression = entry["metadata"]["expression"]
    try:
        tree = ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise Unreadable(expression) from error

    def work(prose: Prose) -> int:
        prose.say(f"I need to work out {expression}.")
        return _evaluate(tree, prose)

    return work


def _evaluate(node: ast.expr, prose: Prose) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = -_evaluate(operand, prose)
            if not isinstance(operand, ast.Constant):
                prose.line(f"With the minus in front it is {value}.")
            return value
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return prose.product(_evaluate(left, prose), _evaluate(right, prose))
        case ast.BinOp(left=left, op=op, right=right):
            signs: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Div: "/"}
            if type(op) in signs:
                first = _evaluate(left, prose)
                return prose.step(first, signs[type(op)], _evaluate(right, prose))
    raise Unreadable(ast.dump(node))


def leg_counting(question: str, entry: Mapping[str, Any]) -> Work:
    """`13 woodlouses, 8 leechs`: legs of each kind, then the sum."""
    found = re.findall(r"(\d+) ([a-z ]+)", question.rpartition("if you have")[2])
    animals = [(int(count), name, LEGS_OF.get(name, LEGS_OF.get(name[:-1]))) for count, name in found]
    if not animals or any(legs is None for _, _, legs in animals):
        raise Unreadable(question)

    def work(prose: Prose) -> int:
        prose.say(prose.choose("I go through the animals one by one.", "Let me take the animals in turn."))
        total = 0
        for place, (count, name, legs) in enumerate(animals):
            assert legs is not None
            mine = prose.product(count, legs, f"{count} {name}, with {legs} legs each:")
            total = prose.step(total, "+", mine, "Together") if place else mine
        return total

    return work


_EQUATION = re.compile(r"(?:(-?\d+) ([-+]) )?(-?\d*)\*?([a-z])(?: ([-+]) (\d+))? = (-?\d+)")


def simple_equations(question: str, entry: Mapping[str, Any]) -> Work:
    """`56 - 98*e = -1218`: bring the number over, then divide; to check, put the value in."""
    match = _EQUATION.fullmatch(entry["metadata"]["equation"])
    if match is None or (match[1] and match[6]):
        raise Unreadable(question)
    number, sign, factor, name, later_sign, later, right = match.groups()
    coefficient = int(factor) if factor not in ("", "-") else (-1 if factor else 1)
    side = int(right)

    def work(prose: Prose) -> int:
        prose.say(f"I want to find {name} in {match[0]}.")
        value, times = side, coefficient
        if later:
            value = prose.step(side, "-" if later_sign == "+" else "+", int(later), "Bring the number over:")
        elif number:
            value = prose.step(side, "-", int(number), f"Take {number} away on both sides:")
            times = -coefficient if sign == "-" else coefficient
        prose.line(f"So {times}*{name} = {value}.")
        return prose.step(value, "/", times, f"Then {name} =") if times != 1 else value

    return work


_SUM = re.compile(r"(?<![\d.*/+=-])(\d+) ?([-+*/×÷]) ?(\d+) ?= ?\$?(\d+)(?![\d.]| ?[-+*/×÷=])")


def gsm_symbolic(question: str, entry: Mapping[str, Any]) -> Work:
    """A word problem: the sums of reasoning-gym's own worked solution, where all are right and lead to its answer."""
    steps = []
    for line in entry["metadata"]["answer_cot"].partition("####")[0].splitlines():
        for match in _SUM.finditer(line):
            left, op, right, result = (
                int(match[1]),
                match[2].replace("×", "*").replace("÷", "/"),
                int(match[3]),
                match[4],
            )
            if op == "/" and (right == 0 or left % right):
                raise Unreadable(line)
            if {"+": left + right, "-": left - right, "*": left * right}.get(op, right and left // right) != int(
                result
            ):
                raise Unreadable(line)
            words = re.sub(r"[^A-Za-z' ]+", " ", line[: match.start()]).strip()
            steps.append((" ".join(words.split()), left, op, right, int(result)))
    if not steps or str(steps[-1][4]) != entry["answer"]:
        raise Unreadable(question)

    def work(prose: Prose) -> int:
        prose.say(prose.choose("Let me take the story step by step.", "I go through what happens in order."))
        written: dict[int, int] = {}  # what the story's numbers became in this pass
        value = 0
        for words, left, op, right, result in steps:
            lead = f"{words}:" if 0 < len(words) <= 80 else ""
            value = prose.step(written.get(left, left), op, written.get(right, right), lead)
            written[result] = value
        return value

    return work


FAMILIES: Mapping[str, Callable[[str, Mapping[str, Any]], Work]] = {
    "chain_sum": arithmetic,
    "basic_arithmetic": arithmetic,
    "products": arithmetic,
    "leg_counting": leg_counting,
    "simple_equations": simple_equations,
    "gsm_symbolic": gsm_symbolic,
}
"""reasoning-gym's name of a family -> its solver. Countdown has one of its own, below: its answer is no number."""


def countdown(numbers: list[int], target: int, expression: str, prose: Prose, tries: int) -> None:
    """Try random ways to the target that miss it, then the one that does not. A search as people do it: by luck."""
    prose.say(f"I need to get {target} from {', '.join(map(str, numbers))}, each used at most once.")
    for _ in range(tries):
        order = prose.rng.sample(numbers, len(numbers))
        prose.paragraph(prose.choose("Let me try", "Hmm, maybe", "Alternatively,") + f" begin with {order[0]}.")
        value = order[0]
        for number in order[1:]:
            value = prose.step(value, prose.rng.choice(("+", "-", "*") if value < 60 else ("+", "-")), number)
            if value == target:
                raise Uneven  # a lucky hit would leave the answer unsaid
        prose.say(f"That is {value}, not {target}.")
    prose.paragraph(prose.choose("Wait, what about", "Alternatively, take") + f" {expression}.")
    value = _evaluate(ast.parse(expression, mode="eval").body, prose)
    prose.say(f"That is {value}.")
