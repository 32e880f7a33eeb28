"""Read numbers, numbers with a unit, dates and times of day, and say whether two of a kind are equal."""

import itertools
import re
from dataclasses import dataclass, replace
from fractions import Fraction

from satisfice.answers.numerals import read_tower

_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?) ?(?:(?P<above>{_DECIMAL}(?:[eE][+-]?\d{{1,3}})?)(?: ?/ ?(?P<below>0*[1-9]\d*))?"
    r"|\\frac ?\{ ?(?P<sign2>-?)(?P<above2>\d+) ?\} ?\{ ?(?P<below2>0*[1-9]\d*) ?\}"
    rf"|(?:(?P<factor>{_DECIMAL}) ?(?:\\times|\\cdot|\*|x) ?)?(?P<base>\d{{1,9}}) ?\^ ?"
    r"(?:\{ ?(?P<power>[+-]?\d{1,4}) ?\}|(?P<power2>\d{1,4})))"
)
_LONG = 10_000  # digits of a number that is still worked out here


@dataclass(frozen=True)
class Number:
    """A number as it was written: `exact` unless it has decimals, which may be rounded ones."""

    value: Fraction
    exact: bool
    cut: int = 0  # decimals before the dots of a number that goes on (0.333...)

    def equals(self, other: "Number") -> bool:
        """Return whether both are one number; decimals agree to 6 places, and to 5 digits where they are small."""
        if self.value == other.value:
            return True
        if self.cut or other.cut:
            places = min(self.cut or other.cut, other.cut or self.cut)
            return int(self.value * 10**places) == int(other.value * 10**places)
        return not (self.exact and other.exact) and _rounded(self.value) == _rounded(other.value)


def read_number(text: str) -> Number | None:
    r"""Return the number that a text is, or None.

    >>> read_number(r"\frac{3}{2}"), read_number("1.5e3"), read_number("2^{-3}"), read_number("x")
    (Number(value=Fraction(3, 2), exact=True, cut=0), Number(value=Fraction(1500, 1), exact=False, cut=0),
     Number(value=Fraction(1, 8), exact=True, cut=0), None)
    """
    if text.endswith("…"):
        begun = read_number(text[:-1])
        return begun and replace(begun, cut=len(text.rpartition(".")[2]) - 1)
    found = _NUMBER.fullmatch(text)
    if not found:
        tower = read_tower(text) or ()
        small = len(tower) == 1 or (len(tower) == 2 and len(str(tower[0])) * tower[1] <= _LONG)
        return Number(Fraction(tower[0]) ** (tower[1] if tower[1:] else 1), True) if small else None
    part = found.groupdict()
    sign = -1 if (part["sign"] == "-") != (part["sign2"] == "-") else 1
    if part["base"] is not None:
        base, power = int(part["base"]), int(part["power"] or part["power2"])
        if (base == 0 and power <= 0) or len(part["base"]) * abs(power) > _LONG:
            return None
        factor = part["factor"] or "1"
        return Number(sign * Fraction(factor) * Fraction(base) ** power, "." not in factor)
    above = part["above"] or part["above2"]
    return Number(
        sign * Fraction(above) / Fraction(part["below"] or part["below2"] or "1"), not re.search(r"[.eE]", above)
    )


def _rounded(value: Fraction) -> Fraction:
    places, small = 6, abs(value)
    while 0 < small < Fraction(1, 10) and places < 400:
        small *= 10
        places += small < Fraction(1, 10)
    return round(value, places)


def _units() -> dict[str, tuple[str, Fraction]]:
    """Return each unit that can be converted: what it measures, and how many of the base unit it is."""
    known: dict[str, tuple[str, Fraction]] = {}
    prefixes = {"n": -9, "µ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "": 0, "k": 3, "M": 6, "G": 9}
    words = {"nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "": 0, "kilo": 3, "mega": 6, "giga": 9}
    for kind, names, sign in (
        ("length", ("meter", "metre"), "m"), ("mass", ("gram", "gramme"), "g"), ("volume", ("liter", "litre"), "L"),
        ("volume", (), "l"), ("power", ("watt",), "W"), ("energy", ("joule",), "J"), ("force", ("newton",), "N"),
        ("frequency", ("hertz",), "Hz"), ("pressure", ("pascal",), "Pa"), ("voltage", ("volt",), "V"),
        ("current", ("ampere", "amp"), "A"), ("time", ("second", "sec"), "s"), ("bytes", ("byte",), "B"),
    ):  # fmt: skip
        known |= {prefix + sign: (kind, Fraction(10) ** power) for prefix, power in prefixes.items()}
        known |= {word + name: (kind, Fraction(10) ** power) for word, power in words.items() for name in names}
    others: dict[str, dict[str, str | int]] = {
        "time": {"ms": "1/1000", "secs": 1, "min": 60, "mins": 60, "minute": 60, "h": 3600, "hr": 3600, "hrs": 3600,
                 "hour": 3600, "day": 86400, "week": 604800},
        "bits": {"bit": 1, "kb": 1000, "Mb": 10**6, "Gb": 10**9},
        "length": {"in": "0.0254", "inch": "0.0254", "ft": "0.3048", "foot": "0.3048", "feet": "0.3048",
                   "yd": "0.9144", "yard": "0.9144", "mi": "1609.344", "mile": "1609.344"},
        "mass": {"lb": "453.59237", "lbs": "453.59237", "oz": "28.349523125", "ounce": "28.349523125", "ton": 1000000},
        "angle": {"degree": 1, "deg": 1}, "radians": {"radian": 1, "rad": 1},
        "Celsius": {"degC": 1, "Celsius": 1}, "Fahrenheit": {"degF": 1, "Fahrenheit": 1}, "kelvin": {"K": 1, "degK": 1},
        "money": {"cent": 1, "dollar": 100, "USD": 100},
        "euro": {"euro": 1, "EUR": 1},
    }  # fmt: skip
    for kind, table in others.items():
        known |= {name: (kind, Fraction(size)) for name, size in table.items()}
    return known


_UNITS = _units()
_GENERIC = frozenset({"unit", "time", "total", "each", "altogether", "exactly"})  # words that measure nothing
_NO_UNIT = frozenset(
    {"and", "or", "not", "no", "nor", "plus", "minus", "times", "over", "mod", "divided", "is", "are", "than", "if",
     "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "pi", "lim", "max", "gcd", "lcm",
     "am", "pm"}
)  # fmt: skip
_QUANTITY = re.compile(r"(?P<value>[^\n]*?[\d})%])(?P<gap> ?)(?P<unit>[^\W\d_][^\n\\=<>+]*)")
_FACTOR = re.compile(r"([^\W\d_]+)(?: ?\^ ?\{?(-?[1-9])\}?)?")
_SPEED = {"mph": "mi/h", "kph": "km/h"}
_SPEEDS = re.compile(r"\b(?:mph|kph)\b")
_POWERS = {"square": 2, "sq": 2, "cubic": 3}


@dataclass(frozen=True)
class Unit:
    """What a number counts: physical dimensions with their size, or the words of what is counted."""

    dimensions: tuple[tuple[str, int], ...] = ()
    size: Fraction = Fraction(1)
    words: frozenset[str] = frozenset()

    def agrees(self, other: "Unit") -> bool:
        """Return whether both measure the same thing."""
        if self.dimensions or other.dimensions:
            return self.dimensions == other.dimensions
        return bool(self.words & other.words) or not self.words or not other.words


def read_quantity(text: str, *, glued: bool = False) -> tuple[str, Unit] | None:
    """Return what stands before a unit, and the unit; None where there is no unit.

    A unit of one letter needs a blank before it, unless `glued`: `5m` may be five times m.

    >>> read_quantity("5 cm")[0], read_quantity("5x"), read_quantity("12 red apples")[1].words == {"red", "apple"}
    ('5', None, True)
    """
    found = _QUANTITY.fullmatch(text)
    if not found or re.search(r"(?<!\\)\b[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", found["value"])):
        return None
    unit = _read_unit(found["unit"].strip())
    if unit is None or (not glued and not found["gap"] and re.fullmatch(r"[^\W\d_](?:\W.*)?", found["unit"])):
        return None
    return found["value"].strip(), unit


_PIECE = re.compile(r"(-?\d+(?:\.\d+)?) ?([^\W\d_]+)(?:,? and |, | |$)")


def read_compound(text: str) -> tuple[Number, Unit] | None:
    """Return a quantity that is stated in several units as a number of base units, and the unit; else None.

    >>> read_compound("1 hour and 30 minutes")[0].value, read_compound("5 ft 11 in")[0].value, read_compound("5 ft")
    (Fraction(5400, 1), Fraction(9017, 5000), None)
    """
    pieces = list(_PIECE.finditer(text))
    if len(pieces) < 2 or sum(len(piece[0]) for piece in pieces) != len(text):
        return None
    units = [_read_unit(piece[2]) for piece in pieces]
    known = [unit for unit in units if unit is not None and unit.dimensions]
    if len(known) < len(units) or any(not unit.agrees(known[0]) for unit in known):
        return None
    if any(one.size <= other.size for one, other in itertools.pairwise(known)):
        return None  # "5 m, 5 m" are two answers
    value = sum((Fraction(piece[1]) * unit.size for piece, unit in zip(pieces, known, strict=True)), Fraction())
    return Number(value, "." not in text), replace(known[0], size=Fraction(1))


def _read_unit(text: str) -> Unit | None:
    dimensions: dict[str, int] = {}
    size = Fraction(1)
    words: set[str] = set()
    sign, waiting = 1, 0
    text = _SPEEDS.sub(lambda found: _SPEED[found[0]], text.replace(r"\cdot", "*"))
    for token in re.findall(r"[^\W\d_]+(?: ?\^ ?\{?-?[1-9]\}?)?|[/*]|\S", text):
        if token in "/*" or token == "per":
            sign = -1 if token != "*" else 1
            continue
        factor = _FACTOR.fullmatch(token)
        if factor is None or factor[1].casefold() in _NO_UNIT:
            return None
        if factor[1].casefold() in _POWERS:
            waiting = _POWERS[factor[1].casefold()]
            continue
        known = None if words else _UNITS.get(factor[1])
        if known is None and not words and len(factor[1]) > 1:  # one letter is a sign, whose case tells
            known = _UNITS.get(_singular(factor[1]))
        power = sign * int(factor[2] or waiting or 1)
        waiting = 0
        if known is not None:
            dimensions[known[0]] = dimensions.get(known[0], 0) + power
            size *= known[1] ** power
        elif len(factor[1]) < 3 and not (words or dimensions):
            return None  # a variable
        elif factor[2]:
            return None
        elif not dimensions and _singular(factor[1]) not in _GENERIC:
            words.add(_singular(factor[1]))
    volume = dimensions.pop("volume", 0)  # a litre is a cubic decimetre
    if volume:
        dimensions["length"] = dimensions.get("length", 0) + 3 * volume
        size *= Fraction(1, 1000) ** volume
    return Unit(tuple(sorted((k, n) for k, n in dimensions.items() if n)), size, frozenset(words))


_PLURALS = {"people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse", "geese": "goose"}


def _singular(word: str) -> str:
    word = word if word in _UNITS else word.casefold()
    if word in _PLURALS:
        return _PLURALS[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_MONTH = r"(?P<month>(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)\.?"
_NAMED = re.compile(
    rf"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? )?"
    rf"(?:{_MONTH} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>\d{{4}}))?)"
    rf"|(?P<day2>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH.replace('month', 'month2')}(?:,? (?P<year2>\d{{4}}))?",
    re.IGNORECASE,
)
_ISO = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_LOCAL = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_TIME = re.compile(
    r"(\d{1,2})(?:[:h](\d{2})(?::(\d{2}))?|\.(?P<after>\d{2})(?= ?[ap]\.? ?m))? ?(?:([ap])\.? ?m\b\.?)?", re.IGNORECASE
)
_NAMED_TIMES = {"noon": 12 * 3600, "midnight": 0}


def read_date(text: str) -> tuple[int, ...] | None:
    """Return year (0: none), month and day; where day and month cannot be told apart, both in order, then the year.

    >>> read_date("2024-01-02") == read_date("January 2, 2024"), read_date("02/01/2024"), read_date("13.01.2024")
    (True, (2, 1, 2024), (2024, 1, 13))
    """
    if found := _ISO.fullmatch(text):
        return int(found[1]), int(found[3]), int(found[4])
    if found := _LOCAL.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        if first > 12 >= second:
            return year, second, first
        return (year, first, second) if second > 12 >= first else (first, second, year)
    if found := _NAMED.fullmatch(text):
        month = found["month"] or found["month2"]
        return (
            int(found["year"] or found["year2"] or 0),
            _MONTHS[month[:3].casefold()],
            int(found["day"] or found["day2"]),
        )
    return None


def read_time(text: str) -> int | None:
    """Return a time of day in seconds, or None.

    >>> read_time("1:00 PM") == read_time("13:00"), read_time("5"), read_time("12:75")
    (True, None, None)
    """
    named = text.casefold().removeprefix("12 ")
    if named in _NAMED_TIMES:
        return _NAMED_TIMES[named]
    found = _TIME.fullmatch(text)
    if not found or not (found[2] or found[5]):
        return None
    hour, minute, second = int(found[1]), int(found[2] or found["after"] or 0), int(found[3] or 0)
    if minute > 59 or second > 59 or hour > (12 if found[5] else 24):
        return None
    if found[5]:
        hour = hour % 12 + (12 if found[5] in "pP" else 0)
    return 3600 * hour + 60 * minute + second
