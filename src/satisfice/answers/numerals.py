"""Numbers that are not written in plain digits: in words, in thousands and millions, in another base, as a tower."""

import re

# fmt: off
_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# fmt: on
_VALUES = {word: n for n, word in enumerate(_ONES)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}


def read_words(text: str) -> int | None:
    """Return the whole number that words say, or None.

    >>> read_words("minus twenty-one"), read_words("one hundred and five thousand"), read_words("a dozen")
    (-21, 105000, 12)
    >>> read_words("two and") is read_words("one or two") is None
    True
    """
    words = text.casefold().replace("-", " ").split()
    sign = -1 if words[:1] in (["minus"], ["negative"]) else 1
    words = words[1:] if sign < 0 else words
    if words[:1] in (["a"], ["an"]) and len(words) > 1:
        words[0] = "one"
    total = part = 0
    before = ""
    for word in words:
        if word in _VALUES:
            if before in _ONES or (before in _TENS and not 0 < _VALUES[word] < 10):
                return None
            part += _VALUES[word]
        elif word in SCALES and part:
            part *= SCALES[word]
            if SCALES[word] > 100:
                total, part = total + part, 0
        elif word != "and" or before not in SCALES:
            return None
        before = word
    return sign * (total + part) if before in _VALUES or before in SCALES else None


_NUMERAL = re.compile(r"([0-9][0-9A-Fa-f]*)_ ?(?:\{ ?)?(\d{1,2})(?: ?\})?|0([xbo])([0-9a-fA-F]+)")
_BASES = {"x": 16, "o": 8, "b": 2}


def read_numeral(text: str) -> tuple[str, int, int] | None:
    """Return the digits, the base and the value of a number that states its base; None for any other text.

    >>> read_numeral("101_2"), read_numeral("1F_{16}"), read_numeral("0x1f"), read_numeral("102_2")
    (('101', 2, 5), ('1F', 16, 31), ('1F', 16, 31), None)
    """
    found = _NUMERAL.fullmatch(text)
    if not found:
        return None
    digits, base = (found[1], int(found[2])) if found[1] else (found[4], _BASES[found[3]])
    try:
        return digits.upper().lstrip("0") or "0", base, int(digits, base)
    except ValueError:
        return None


_TOWER = re.compile(r"(-?)(\d[\d^{}\s]*\^[\d^{}\s]*)")
_MOST = 10**9


def read_tower(text: str) -> tuple[int, ...] | None:
    """Return a power of powers as its base and exponents, worked out from the top as far as that is no large number.

    >>> read_tower("2^{2^{2^{2^{2}}}}"), read_tower("4^{32768}"), read_tower("2^{10}"), read_tower("2^{2^x}")
    ((2, 65536), (2, 65536), (1024,), None)
    """
    found = _TOWER.fullmatch(text)
    if not found or "}^" in text.replace(" ", ""):
        return None
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if text.count("^") != len(numbers) - 1 or max(numbers) > _MOST or min(numbers[:-1]) < 2:
        return None
    while len(numbers) > 1 and numbers[-1] < 64 and numbers[-2] ** numbers[-1] <= _MOST:
        numbers[-2:] = [numbers[-2] ** numbers[-1]]
    if len(numbers) == 2:
        root, power = _root(numbers[0])
        numbers = [root, power * numbers[1]]
    return (-numbers[0] if found[1] else numbers[0], *numbers[1:])


def _root(number: int) -> tuple[int, int]:
    """Return the least whole number of which this is a power, and that power."""
    for power in range(number.bit_length(), 1, -1):
        root = round(number ** (1 / power))
        if root > 1 and root**power == number:
            return root, power
    return number, 1
