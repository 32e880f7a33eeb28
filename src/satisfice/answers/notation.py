"""Bring what means the same to the same text: markup, blanks inside numbers, fractions, degrees, letters of choices."""

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from satisfice.answers.numerals import SCALES, read_words

_CHARACTERS = str.maketrans(
    {"−": "-", "﹣": "-", "±": r"\pm ", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "⁄": "/",
     "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∨": " or ", "∧": " and ", "¬": " not ",
     "→": "->", "°": r"\degree ", "“": '"', "”": '"', "’": "'", "‘": "'"}
)  # fmt: skip
# What may stand between groups of digits.
_THIN = r"(?<!\\)\\[,;: ]|\\thinspace\b|\{,\}|[~\u00a0\u2000-\u200a\u202f\u205f]"
_NARROW = re.compile(r"(?<!\\)\\[,;: ]|\\(?:thinspace|quad|qquad)\b|[~\u00a0\u2000-\u200a\u202f\u205f\s]+")
_GROUPS = re.compile(
    rf"(?<![\d.])(?<!\d[ ,])([1-9]\d{{0,2}})(?P<blank>{_THIN}|[ ,'_])(\d{{3}}(?:(?P=blank)\d{{3}})*)(?!\d)"
)
_DECIMALS = re.compile(rf"(?<=\d)\.\d{{3}}(?:(?:{_THIN}| )\d{{3}})*(?:{_THIN}| )\d{{1,3}}(?![\d/])")
_NOT_DIGITS = re.compile(r"\D")
_MIXED = re.compile(
    r"(?<![\w.^/{}])(?<!\d )(\d{1,9}) ?"
    r"(?:\\frac ?\{(\d{1,9})\} ?\{(\d{1,9})\}|\\frac ?(\d)(\d)|(?<= )(\d{1,9})/(\d{1,9}))(?![\w/.])"
)
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|operatorname|ce)\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"(?:(?:option|choice|answer) )?[(\[]?([A-Za-z])[)\]]?[.:]?", re.IGNORECASE)
_MONEY = re.compile(r"(?:\\?\$|USD) ?(-?\d[\d.,]*)(?! ?[^\W\d_])|(€|£|¥) ?(-?\d[\d.,]*)")
_SCALED = re.compile(rf"(?<![\w.])(\d+(?:\.\d+)?) ({'|'.join(SCALES)})s?(?![\w])", re.IGNORECASE)
_SIGNS = {"€": "euros", "£": "sterling", "¥": "yen"}

_REWRITES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile("[¼-¾⅐-⅞]"), lambda m: " " + unicodedata.normalize("NFKC", m[0]).replace("⁄", "/")),
    (re.compile("[⁰¹²³⁴-⁹⁺⁻]+"), lambda m: "^{" + unicodedata.normalize("NFKC", m[0]).replace("−", "-") + "}"),
    (re.compile("[₀-₉₊₋]+"), lambda m: "_{" + unicodedata.normalize("NFKC", m[0]).replace("−", "-") + "}"),
    (re.compile("[！-～]+"), lambda m: unicodedata.normalize("NFKC", m[0])),
    (re.compile(r"√ ?(\d+(?:\.\d+)?|[^\W\d_]|\{[^{}]*\})"), lambda m: r"\sqrt{" + m[1].strip("{}") + "}"),
    (re.compile(r"√ ?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<=[\w)}])\*\*(?=[\w({-])"), "^"),
    (re.compile(r"\*\*(?=\S)([^*]*[^*\s])\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]*[^*\s])\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)__(?=\S)([^_]*[^_\s])__(?!\w)"), r"\1"),
    (re.compile(r"\\[()\[\]](?!\d+(?:pt|em|ex)\])|`+|\\(?:left|right|displaystyle|limits)(?![A-Za-z])|\\!"), ""),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:lor|vee)(?![A-Za-z])"), " or "),
    (re.compile(r"\\(?:land|wedge)(?![A-Za-z])"), " and "),
    (re.compile(r"\\(?:neg|lnot)(?![A-Za-z])"), " not "),
    (re.compile(r"\\(?:to|rightarrow|longrightarrow)(?![A-Za-z])"), "->"),
    (re.compile(r"\binfinity\b", re.IGNORECASE), r"\\infty "),
    (_TEXT, lambda m: _inner(m)),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\^ ?\{ ?\\(?:circ|degree) ?\}|(?:\^ ?\\circ|\^? ?\\degree)(?![A-Za-z])"), " degrees "),
    (re.compile(r" degrees +([CFK])(?:elsius|ahrenheit|elvin)?\b"), r" deg\1"),
    (re.compile(r"^(?:minus|negative) (?=[\d\\.(])", re.IGNORECASE), "-"),
    (re.compile(r"(\.\d{3,}) ?(?:\.\.\.|…|\\[lc]?dots)$"), r"\1…"),
    (re.compile(r"(\d*)\.(\d*)\\overline ?\{ ?(\d+) ?\}"), lambda m: _repeating(m)),
    (_GROUPS, lambda m: _NOT_DIGITS.sub("", m[0])),
    (_DECIMALS, lambda m: "." + _NOT_DIGITS.sub("", m[0])),
    (_NARROW, " "),
    (_MIXED, lambda m: _improper(m)),
    (_SCALED, lambda m: _scaled(m)),
)  # fmt: skip


def plain(text: str) -> str:
    r"""Return an answer without what never carries meaning, in one notation for what has several.

    >>> plain("**1 1/2**"), plain(r"$1\,000$"), plain("(B)"), plain("90°"), plain("½")
    ('\\frac{3}{2}', '1000', 'B', '90 degrees', '1/2')
    """
    text = _money(text.strip()).translate(_CHARACTERS)
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    text = _unquoted(text.strip())
    text = re.sub(r"(?<=[^\W\d_]{2})[!?]+$", "", text.rstrip(" .,;:"))
    choice = _CHOICE.fullmatch(text)
    number = read_words(text)
    return choice[1] if choice else text if number is None else str(number)


def balanced(text: str) -> bool:
    """Return whether every brace that closes was opened before, and every one that opens is closed."""
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def _money(text: str) -> str:
    """With signs of money as units, and without the dollars around mathematics."""
    bare = text.replace(r"\$", "")
    if bare.count("$") % 2 == 0:  # around mathematics
        text = re.sub(r"(?<!\\)\$", "", text)
    return _MONEY.sub(lambda m: f"{m[1]} dollars" if m[1] else f"{m[3]} {_SIGNS[m[2]]}", text)


def _inner(match: re.Match[str]) -> str:
    r"""Return what stands in `\text{}`, apart from a number or word beside it."""
    inner, before = match[1], match.string[: match.start()].rstrip()
    apart = before[-1:].isdigit() or before[-1:] in "})" or len(inner.strip()) > 2
    return f" {inner} " if apart and inner.strip() and not inner.strip()[0].isdigit() else inner


def _improper(match: re.Match[str]) -> str:
    whole, above, below = (int(part) for part in match.groups() if part is not None)
    return rf"\frac{{{whole * below + above}}}{{{below}}}" if 0 < above < below else match[0]


def _repeating(match: re.Match[str]) -> str:
    whole, once, again = match.groups()
    value = Fraction(
        int(whole + once + again or "0") - int(whole + once or "0"), 10 ** len(once) * (10 ** len(again) - 1)
    )
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _scaled(match: re.Match[str]) -> str:
    return str(Fraction(match[1]) * SCALES[match[2].casefold()])


def _unquoted(text: str) -> str:
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text
