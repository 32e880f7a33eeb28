"""Say whether two answers are equal, by what kind of answer they are; what is left to algebra is handed to a function.

A word is no product of its letters, a date no difference, a time no quotient, and a formula no product: each kind has
its own comparison, and answers of different kinds differ.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from satisfice.answers.notation import plain
from satisfice.answers.numerals import read_numeral, read_tower
from satisfice.answers.quantities import Number, Unit, read_compound, read_date, read_number, read_quantity, read_time
from satisfice.answers.symbols import same_word

Algebra = Callable[[str, str], bool]
"""Whether two expressions are equal."""


class NeedsAlgebra(Exception):
    """Raised where the answers cannot be compared without algebra and there is none."""


def compare(answer: str, gold: str, algebra: Algebra) -> bool:
    r"""Return whether two answers are equal.

    >>> compare("½", "0.5", without), compare("AB", "BA", without), compare("5 m", "500 cm", without)
    (True, False, True)
    """
    return _equal(plain(answer), plain(gold), algebra)


def without(answer: str, gold: str) -> bool:
    """Raise `NeedsAlgebra`: the algebra of those who have none."""
    raise NeedsAlgebra(answer, gold)


def _equal(a: str, b: str, algebra: Algebra) -> bool:
    if not a or not b:
        return False
    if a == b:
        return True
    for kind in (_dates, _choices, _compounds, _lists, _equations, _numbers, _quantities, _formulas, _words, _products):
        verdict = kind(a, b, algebra)
        if verdict is not None:
            return verdict
    return not _reordered(a, b) and not _in_other_letters(a, b) and algebra(a, b)


# Each kind returns None for answers that are none of it.


def _dates(a: str, b: str, algebra: Algebra) -> bool | None:
    """Dates and times of day, which no number and no other text is equal to."""
    for read in (read_date, read_time):
        first, second = read(a), read(b)
        if first is not None or second is not None:
            return first == second
    return None


_LETTER = re.compile(r"[A-Z]")
_CHOSEN = re.compile(r"[(\[]?([A-Z])(?:(?:[)\]][.:]?|[.:]) +\S| [-–—] +(?:\d|[^\W\d_]{2})).*", re.DOTALL)


def _choices(a: str, b: str, algebra: Algebra) -> bool | None:
    """A letter, and a letter with the text of what was chosen."""
    for letter, other in ((a, b), (b, a)):
        if _LETTER.fullmatch(letter) and (chosen := _CHOSEN.fullmatch(other)):
            return chosen[1] == letter
    return None


def _compounds(a: str, b: str, algebra: Algebra) -> bool | None:
    """Quantities in several units: 1 hour 30 minutes, and 90 minutes."""
    first, second = read_compound(a), read_compound(b)
    if first is None and second is None:
        return None
    read = [found or _in_base_units(text) for found, text in ((first, a), (second, b))]
    if read[0] is None or read[1] is None:
        return None
    return read[0][1].agrees(read[1][1]) and read[0][0].equals(read[1][0])


def _in_base_units(text: str) -> tuple[Number, Unit] | None:
    found = read_quantity(text, glued=True)
    number = read_number(found[0]) if found else None
    if found is None or number is None:
        return None
    return Number(number.value * found[1].size, number.exact), found[1]


_PAIRS = {"(": ")", "[": "]", "{": "}"}
_ROW = re.compile(r"-?\d+(?:\.\d+)?(?: -?\d+(?:\.\d+)?)+")
_JOINT = re.compile(r",? (?:and|or) |[,;]| ?\\(?:cup|text) ?or ")


def _lists(a: str, b: str, algebra: Algebra) -> bool | None:
    """Several answers: in any order, unless there are brackets around them."""
    first, second = _members(a), _members(b)
    if len(first.parts) < 2 and len(second.parts) < 2:
        return None
    if {first.joint, second.joint} == {"and", "or"}:
        return False
    if first.brackets and second.brackets and first.brackets != second.brackets:
        return None  # an interval, perhaps
    if len(first.parts) != len(second.parts):
        if len(first.parts) == 1 or len(second.parts) == 1:
            several, one = (first, b) if len(second.parts) == 1 else (second, a)
            if several.joint == "or":  # one value in two notations
                return all(_equal(part, one, algebra) for part in several.parts)
        return None if first.brackets or second.brackets else False
    ordered = {first.brackets, second.brackets} & {"()", "[]", "(]", "[)"}
    if ordered:
        return all(_equal(x, y, algebra) for x, y in zip(first.parts, second.parts, strict=True))
    left = list(second.parts)
    for one in first.parts:
        place = next((n for n, other in enumerate(left) if _equal(one, other, algebra)), None)
        if place is None:
            return False
        del left[place]
    return True


class _Members:
    """What a text lists, with its brackets (`()`, `[)`, `{}`, or none) and the word that joins them."""

    def __init__(self, parts: Sequence[str], brackets: str = "", joint: str = "") -> None:
        self.parts, self.brackets, self.joint = parts, brackets, joint


def _members(text: str) -> _Members:
    bare = text.replace(r"\{", "{").replace(r"\}", "}")
    if bare[0] in _PAIRS and bare[-1] in ")]}" and len(_split(bare[1:-1], _JOINT)) > 1 and _closed(bare[1:-1]):
        return _Members(_split(bare[1:-1], _JOINT), bare[0] + bare[-1])
    if text.count(r"\pm") == 1 and "," not in text:
        return _Members([text.replace(r"\pm", sign).lstrip("+ ") for sign in "+-"])
    parts = _split(text, _JOINT)
    if _ROW.fullmatch(text):
        parts = text.split()
    if len(parts) < 2 or not all(parts):
        return _Members([text])
    joints = {word for word in ("and", "or") if re.search(rf" {word} ", text)}
    return _Members(parts, joint=joints.pop() if len(joints) == 1 else "")


def _closed(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _split(text: str, at: re.Pattern[str]) -> list[str]:
    """Return the parts of a text between what stands in no bracket."""
    depth, depths = 0, []
    for character in text:
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        depths.append(depth)
    parts, begin = [], 0
    for found in at.finditer(text):
        if depths[found.start()] == 0:
            parts.append(text[begin : found.start()].strip())
            begin = found.end()
    return [*parts, text[begin:].strip()]


_EQUALS = re.compile(r"(?<![<>!:=])=(?![=>])")
_APPLIED = re.compile(r"_ ?(?:\{[^{}]*\}|\w)|(?<=[A-Za-z}'])(?:\^ ?\{-1\}|\^-1)? ?\([^()=]*\)|\\[A-Za-z]+")
_DERIVED = re.compile(r"\\frac ?\{ ?d\w* ?\} ?\{ ?d\w ?\}|d\w/d\w")


def _equations(a: str, b: str, algebra: Algebra) -> bool | None:
    """An equation that names a value (`x = 5`) is that value; any other must hold, and end in the answer."""
    first, second = _split(a, _EQUALS), _split(b, _EQUALS)
    if len(first) == len(second) == 1:
        return None
    name, values = _named(first)
    other_name, other_values = _named(second)
    if len(first) > 1 and len(second) > 1:
        if not name or not other_name:
            return None if _formula(a) is None and _formula(b) is None else False
        if name != other_name and max(len(name), len(other_name)) == 1:
            return False
    if not values or not other_values or not _equal(values[-1], other_values[-1], algebra):
        return False
    return all(_equal(part, chain[-1], algebra) for chain in (values, other_values) for part in chain[:-1])


def _named(sides: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name in an equation, or an empty one, and the sides that are values."""
    if len(sides) == 1:
        return "", sides
    if _is_name(sides[0]):
        return sides[0].replace(" ", ""), sides[1:]
    if _is_name(sides[-1]):
        return sides[-1].replace(" ", ""), sides[:-1]
    return "", sides


def _is_name(side: str) -> bool:
    """Whether a side of an equation says what is meant (`x`, `a + b`, `P(A)`, `total cost`) and is not to be solved."""
    if _DERIVED.fullmatch(side):
        return True
    return not re.search(r"\d", _APPLIED.sub("", side)) and bool(re.search(r"[^\W\d_]", side)) and "infty" not in side


_RATIO = re.compile(r"\d+(?:\.\d+)?(?: ?: ?\d+(?:\.\d+)?)+")


def _numbers(a: str, b: str, algebra: Algebra) -> bool | None:
    """Numbers, percentages (of one, or as they are) and ratios."""
    first, second = _percent(a), _percent(b)
    if (first is None) != (second is None):
        percent, other = (first, read_number(b)) if first else (second, read_number(a))
        if percent is not None and other is not None:
            return percent.equals(other) or Number(percent.value / 100, percent.exact).equals(other)
    x, y = first or read_number(a), second or read_number(b)
    if x is not None and y is not None:
        return x.equals(y)
    towers = read_tower(a), read_tower(b)
    if ((x is None and towers[0]) or (y is None and towers[1])) and all(
        n or t for n, t in ((x, towers[0]), (y, towers[1]))
    ):
        return towers[0] == towers[1]
    numerals = read_numeral(a), read_numeral(b)
    if numerals[0] and numerals[1]:
        return numerals[0][2] == numerals[1][2]
    if numerals[0] or numerals[1]:  # a base that is not stated is taken for granted
        digits, text = (numerals[0][0], b) if numerals[0] else (numerals[1][0] if numerals[1] else "", a)
        return digits == (text.upper().lstrip("0") or "0")
    if _RATIO.fullmatch(a) or _RATIO.fullmatch(b):
        a, b = (re.sub(r"(?<=\d) to (?=\d)", ":", text) for text in (a, b))
        parts = [[Fraction(part) for part in text.split(":")] if _RATIO.fullmatch(text) else None for text in (a, b)]
        if parts[0] is None or parts[1] is None:
            ratio, number = (parts[0], y) if parts[0] else (parts[1], x)
            return ratio is not None and len(ratio) == 2 and number is not None and ratio[0] == ratio[1] * number.value
        return len(parts[0]) == len(parts[1]) and all(
            p * parts[1][0] == q * parts[0][0] for p, q in zip(parts[0], parts[1], strict=True)
        )
    return None


def _percent(text: str) -> Number | None:
    found = re.fullmatch(r"(.*\S) ?(?:%|per ?cent)", text, re.DOTALL)
    return read_number(found[1].strip()) if found else None


def _quantities(a: str, b: str, algebra: Algebra) -> bool | None:
    """Numbers with a unit: units that are both there must agree, one that is missing is taken for granted."""
    first, second = read_quantity(a), read_quantity(b)
    glued = first or read_quantity(a, glued=True), second or read_quantity(b, glued=True)
    if first is None and second is None and None in glued:
        return None
    first, second = glued
    if "%" in (a[-1], b[-1]):
        return False
    if first is None or second is None:
        return _equal(first[0] if first else a, second[0] if second else b, algebra)
    if not first[1].agrees(second[1]):
        return False
    x, y = read_number(first[0]), read_number(second[0])
    if x is not None and y is not None:
        return Number(x.value * first[1].size, x.exact).equals(Number(y.value * second[1].size, y.exact))
    return first[1].size == second[1].size and _equal(first[0], second[0], algebra)


_CHEMICAL = re.compile(
    r"\d*(?:[A-Z][a-z]?\d*|[(\[](?:[A-Z][a-z]?\d*)+[)\]]\d*)+(?:\d*[+-])?(?:\((?:s|l|g|aq)\))?"
    r"|(?:.*\S)? ?(?:->|<->|\\rightleftharpoons) ?.*"
)
_CHESS = re.compile(r"(?:[KQRBN]?[a-h]?[1-8]?x?[a-h][1-8](?:=?[QRBN])?|[O0]-[O0](?:-[O0])?)[+#]?")
_CODE = re.compile(r"[A-Za-z]+\d[A-Za-z\d]*")
_OPERATOR = re.compile(r"[+*/^=<>|!]|\\[a-z]|(?<![^\W\d_])-|-(?![^\W\d_])")


def _formulas(a: str, b: str, algebra: Algebra) -> bool | None:
    """Formulas of chemistry, moves of chess and names with numbers in them, whose order is their meaning."""
    first, second = _formula(a), _formula(b)
    if first is None and second is None:
        return None
    if first is not None and second is not None:
        return first == second
    return None if _OPERATOR.search(b if second is None else a) else False


def _formula(text: str) -> str | None:
    bare = re.sub(r"[\s_{}]|\^(?=\{?\d*[+-])", "", text).rstrip("!?")
    if _CHESS.fullmatch(bare):
        return bare.rstrip("+#").replace("0-0", "O-O").replace("O-0", "O-O")
    chemical = _CHEMICAL.fullmatch(bare) and (
        re.search(r"[A-Za-z)\]]\d|->|^[A-Z][a-z]?[+-]$", bare) or len(re.findall("[A-Z]", bare)) > 1
    )
    code = _CODE.fullmatch(re.sub(r"[_{}]", "", text))
    return bare if (chemical and not bare.isalpha()) or code else None


_LETTERS = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_VARIABLES = re.compile(r"[xyz]{2,}")
_FUNCTIONS = (
    r"sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|log|ln|lg|exp|sqrt|pi|lim|max|min|gcd|lcm|mod|det"
)
_WORD = re.compile(rf"(?<![\w\\{{^])(?!(?:{_FUNCTIONS})\b)[^\W\d_]{{2,}}(?![\w(}}])")
_TOKEN = re.compile(r"[\w.'%-]*\w%?")
_ARTICLES = frozenset({"a", "an", "the"})
_DENIALS = frozenset(
    {"not", "no", "never", "neither", "nor", "or", "and", "isn't", "cannot", "except", "without", "unless", "either",
     "but", "anything", "everything", "other", "than", "least", "most", "up", "over", "under", "above", "below", "more",
     "less", "greater", "fewer", "between", "beyond", "almost", "maybe", "perhaps", "possibly", "wrong", "false",
     "before", "after", "until", "unlike", "instead", "versus"}
)  # fmt: skip


def _words(a: str, b: str, algebra: Algebra) -> bool | None:
    """Words and sentences: the same words in the same order. A sentence with one number in it may say that number."""
    if _LETTERS.fullmatch(a) and _LETTERS.fullmatch(b):
        if _VARIABLES.fullmatch(a) and _VARIABLES.fullmatch(b):
            return sorted(a) == sorted(b)  # the one product that is written as a word
        return same_word(a, b)
    first, second = _is_prose(a), _is_prose(b)
    if first is None and second is None:
        return None
    if first is not None and second is not None:
        if first == second:
            raw = [[word for word in _TOKEN.findall(text) if word.casefold() in first] for text in (a, b)]
            return len(raw[0]) != len(raw[1]) or all(map(same_word, *raw))
        return "".join(first) == "".join(second)
    if any(_LETTERS.fullmatch(text) and len(text) < 4 for text in (a, b)):
        return None if _OPERATOR.search(a + b) else False  # a product of a few letters, perhaps
    prose, other = (a, b) if first is not None else (b, a)
    numbers = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:/\d+)?(?![\w])", prose)
    if len(numbers) != 1 or _DENIALS & set(first or second or ()):
        return False
    return _equal(numbers[0], other, algebra)


def _is_prose(text: str) -> list[str] | None:
    """Return the words of a text that is words, else None."""
    if _OPERATOR.search(text) or not (_WORD.search(text) or re.fullmatch(r"[A-Z](?: [A-Z])+", text)):
        return None
    words = _TOKEN.findall(text.casefold())
    if any(len(word) > 1 for word in words):
        words = [word for word in words if word not in _ARTICLES]
    return words or None


_PRODUCT = re.compile(r"(-?\d+(?:\.\d+)?)([a-z]{2,3})")


def _products(a: str, b: str, algebra: Algebra) -> bool | None:
    """A number and a few letters, in any order."""
    first, second = _PRODUCT.fullmatch(a), _PRODUCT.fullmatch(b)
    if first is None or second is None:
        return None
    return sorted(first[2]) == sorted(second[2]) and _equal(first[1], second[1], algebra)


_HEXADECIMAL = re.compile(r"\d[\dA-Fa-f]*")


def _in_other_letters(a: str, b: str) -> bool:
    """Whether both are one expression in capital letters and in small ones: other variables."""
    first, second = (re.sub(rf"\\?\b(?:{_FUNCTIONS})\b|\s", "", text, flags=re.IGNORECASE) for text in (a, b))
    return first != second and first.casefold() == second.casefold() and not _HEXADECIMAL.fullmatch(a)


_CROSSED = re.compile(r"([A-Z]) ?\\times ?(?=[A-Z])")


def _reordered(a: str, b: str) -> bool:
    """Whether both are the same signs in another order, with capitals side by side: points or matrices, not numbers."""
    a, b = (_CROSSED.sub(r"\1", text) for text in (a, b))
    if sorted(a.replace(" ", "")) != sorted(b.replace(" ", "")) or re.search(
        r"[+*/=<>,|]|\\(?:cdot|times|frac)", a + b
    ):
        return False
    return len(set(re.findall(r"(?<![\\A-Za-z])[A-Z]|(?<=[A-Z])[A-Z]", a))) > 1
