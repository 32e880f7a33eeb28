# ruff: noqa: E501  (one row of a table is one line)
"""Each rule about what is equal, on two hundred answers of its kind that a generator makes."""

import itertools
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import gcd

import pytest

from satisfice.answers import same, verify
from satisfice.core.problem import Verdict

SIZE = 200
Pair = tuple[str, str]
Maker = Callable[[random.Random], Pair]


def made(maker: Maker) -> Iterator[Pair]:
    draw = random.Random(maker.__name__)
    for _ in range(SIZE):
        yield maker(draw)


# Answers that differ from the reference.


def letters_in_another_order(draw: random.Random) -> Pair:
    alphabet = draw.choice(["ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"])
    word = "".join(draw.sample(alphabet, draw.randint(2, 8))) + draw.choice("anAN")  # more than a product of x, y and z
    return another(draw, word, lambda: "".join(draw.sample(word, len(word))))


def capitals_as_a_product(draw: random.Random) -> Pair:
    factors = [
        letter + draw.choice(["", "^T", "^{-1}", "^2"]) for letter in draw.sample("ABCDMPQRX", draw.randint(2, 4))
    ]
    blank = draw.choice(["", " "])
    return another(draw, blank.join(factors), lambda: blank.join(draw.sample(factors, len(factors))))


def or_for_and(draw: random.Random) -> Pair:
    first, second = draw.sample([*"pqrstuvw", "rain", "snow", "x > 1", "7", "12", "A", "B", "yes", "Tom"], 2)
    joints = draw.sample(
        [[" or ", r" \lor ", " ∨ ", r" \text{ or } "], [" and ", r" \land ", " ∧ ", r" \text{ and } "]], 2
    )
    return f"{first}{draw.choice(joints[0])}{second}", f"{first}{draw.choice(joints[1])}{second}"


def one_or_another_for_one(draw: random.Random) -> Pair:
    right, wrong = draw.sample(range(200), 2)
    return draw.choice(["{} or {}", "either {} or {}", "{} or maybe {}"]).format(right, wrong), str(right)


def denials(draw: random.Random) -> Pair:
    right = draw.choice([str(draw.randint(0, 999)), "Paris", "prime", "x+1", "even"])
    return draw.choice(["not {}", "it is not {}", "never {}", "no, not {}", "anything but {}", "other than {}"]).format(
        right
    ), right


def other_dates(draw: random.Random) -> Pair:
    def one(sign: str) -> str:
        return sign.join((f"{draw.randint(1990, 2030)}", f"{draw.randint(1, 12):02}", f"{draw.randint(1, 28):02}"))

    sign = draw.choice("-/.")
    date = one(sign)
    year, month, day = date.split(sign)
    swapped = sign.join((year, day, month))
    return (swapped, date) if draw.random() < 0.5 and month != day else another(draw, date, lambda: one(sign))


def other_times(draw: random.Random) -> Pair:
    def one() -> str:
        return f"{draw.randint(0, 23)}:{draw.randint(0, 59):02}"

    return another(draw, one(), one)


def other_large_powers(draw: random.Random) -> Pair:
    base, power = draw.randint(2, 30), draw.randint(20, 400)
    form = draw.choice(
        [r"\frac{{1}}{{{}^{{{}}}}}", "{}^{{{}}}", r"\frac{{3}}{{{}^{{{}}}}}", "{}^{{-{}}}", r"7 \cdot {}^{{{}}}", r"\sqrt{{2}} \cdot {}^{{-{}}}"]
    )  # fmt: skip
    return form.format(base, power), form.format(base, power + draw.randint(1, 3))


def other_formulas(draw: random.Random) -> Pair:
    def one() -> str:
        return "".join(element + draw.choice(["", "2", "3", "4", "6"]) for element in draw.sample(elements, 3))

    elements = ["H", "O", "C", "N", "Na", "Cl", "S", "Fe", "Ca", "K", "Mg", "P"]
    elements = draw.sample(elements, 3)
    return another(draw, one(), one)


def other_moves(draw: random.Random) -> Pair:
    def one() -> str:
        return (
            draw.choice(["", "N", "B", "R", "Q", "K"])
            + draw.choice(["", "x"])
            + draw.choice("abcdefgh")
            + draw.choice("12345678")
        )

    return another(draw, one(), one)


def other_units(draw: random.Random) -> Pair:
    groups = [["mm", "cm", "m", "km"], ["mg", "g", "kg"], ["mL", "L"], ["apples", "pears", "dogs"], ["s", "min", "h", "days"],
              ["m/s", "km/h"], ["m^2", "cm^2"], ["dollars", "euros"]]  # fmt: skip
    one, two = draw.sample([unit for group in groups for unit in group], 2)
    number = draw.randint(2, 900)
    blank = draw.choice([" ", r"\,", r"\text{ }"])
    return f"{number}{blank}{one}", f"{number}{blank}{two}"


def equations_that_do_not_hold(draw: random.Random) -> Pair:
    wrong, right = draw.sample(range(1, 500), 2)
    return draw.choice(["{0}={1}", "{0} = {1}", "{0}+0={1}", r"{0} \cdot 1 = {1}"]).format(wrong, right), str(right)


def equations_that_are_to_be_solved(draw: random.Random) -> Pair:
    right, more = draw.randint(1, 500), draw.randint(2, 9)
    return draw.choice(["x+{1}={0}", "{1}x={0}", "x^{1} = {0}", "{0} = {1}y + 1", "y/{1}={0}"]).format(
        right, more
    ), str(right)


def other_sides_of_an_equation(draw: random.Random) -> Pair:
    name, value = draw.choice("xyzab"), draw.randint(1, 500)
    return f"{name} = {value}", draw.choice([name, str(value + 1)])


def powers_of_powers(draw: random.Random) -> Pair:
    text = str(draw.randint(2, 9))
    for _ in range(draw.randint(4, 7)):
        text = f"{draw.randint(2, 9)}^{{{text}}}"
    return text, str(draw.randint(1, 999))


def divisions_by_zero(draw: random.Random) -> Pair:
    return draw.choice(["{}/0", r"\frac{{{}}}{{0}}", "{}/(1-1)", r"\frac{{{}}}{{2-2}}"]).format(
        draw.randint(0, 99)
    ), draw.choice("57")


def symbols_in_other_case(draw: random.Random) -> Pair:
    two = ["Co", "Cs", "Hf", "Os", "Sn", "Pb", "Sc", "Si", "Bi", "Po", "Np", "Cn", "Nb", "Ho", "In"]
    rest = "".join(draw.sample(["Na", "Cl", "O", "K", "Mg"], draw.randint(0, 2)))
    symbol = draw.choice(two)
    genes = "".join(
        draw.choice([g * 2, g.upper() + g, g.upper() * 2]) for g in draw.sample("abcdr", draw.randint(1, 3))
    )
    other = "".join(draw.choice([g.lower() * 2, g.upper() + g.lower(), g.upper() * 2]) for g in genes[1::2])
    pairs = [(symbol.upper() + rest, symbol + rest), *([(other, genes)] if other != genes else [])]
    return draw.choice([*pairs, (f"{symbol.upper()}2", f"{symbol}2")])


def variables_in_other_case(draw: random.Random) -> Pair:
    letter, number = draw.choice("mnpqrstuvxyz"), draw.randint(2, 90)
    form = draw.choice(["{1}{0}", "{0}+{1}", "{0}^2", r"\frac{{{0}}}{{{1}}}", "{0} - {1}", r"\sqrt{{{0}}}"])
    greek = draw.choice(["delta", "omega", "gamma", "sigma", "theta", "phi"])
    return draw.choice(
        [(form.format(letter.upper(), number), form.format(letter, number)), (f"\\{greek.capitalize()}", f"\\{greek}")]
    )


def other_towers(draw: random.Random) -> Pair:
    base, top = draw.randint(2, 9), draw.randint(3, 30)
    form = "{0}^{{{0}^{{{0}^{{{1}}}}}}}"
    return form.format(base, top), form.format(base, top + draw.randint(1, 3))


def products_of_vectors(draw: random.Random) -> Pair:
    first, second = draw.sample("ABCDUVW", 2)
    return rf"{first} \times {second}", rf"{second} \times {first}"


def other_bases(draw: random.Random) -> Pair:
    number, base = draw.randint(2, 500), draw.randint(2, 9)
    return f"{digits(number, base)}_{base}", f"{digits(number + draw.randint(1, 9), base)}_{base}"


def digits(number: int, base: int) -> str:
    return (digits(number // base, base) if number >= base else "") + str(number % base)


# Answers that are the reference in another notation.


def words_in_other_case(draw: random.Random) -> Pair:
    word = draw.choice(
        ["paris", "yes", "no", "true", "false", "monday", "triangle", "isosceles", "prime", "left", "blue"]
    )
    return draw.choice([str.upper, str.capitalize, str])(word), draw.choice([str.upper, str.capitalize, str])(word)


def numbers_in_words(draw: random.Random) -> Pair:
    ones = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    a, b, c = draw.randint(1, 9), draw.randint(2, 9), draw.randint(1, 9)
    below = f"{tens[b - 2]}{draw.choice(['-', ' '])}{ones[c - 1]}"
    text, number = draw.choice(
        [
            (below, 10 * b + c),
            (f"{ones[a - 1]} hundred {draw.choice(['', 'and '])}{below}", 100 * a + 10 * b + c),
            (f"{ones[a - 1]} thousand", 1000 * a),
            (f"{below} million", (10 * b + c) * 10**6),
            (f"minus {below}", -10 * b - c),
            (ones[a - 1], a),
        ]
    )
    return draw.choice([text, text.capitalize(), f"**{text}**"]), draw.choice([str(number), f"{number:,}"])


def scales(draw: random.Random) -> Pair:
    word, size = draw.choice([("hundred", 2), ("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12)])
    number = draw.randint(11, 99)
    unit = draw.choice(["", " dollars", " people", " km"])
    text = draw.choice([f"{number} {word}", rf"{number}\text{{ {word}}}"])
    if draw.random() < 0.5:
        return f"{number / 10} {word}{unit}", f"{number * 10 ** (size - 1):,}{unit}"
    return text + unit, f"{number * 10**size}{unit}"


def quantities_in_several_units(draw: random.Random) -> Pair:
    large, small, size = draw.choice(
        [
            ("hour", "minute", 60),
            ("h", "min", 60),
            ("feet", "inches", 12),
            ("m", "cm", 100),
            ("kg", "g", 1000),
            ("min", "s", 60),
        ]
    )
    first, second = draw.randint(2, 40), draw.randint(2, size - 1)
    plural = "s" if large == "hour" else ""
    joint = draw.choice([" ", " and ", ", "])
    return f"{first} {large}{plural}{joint}{second} {small}{plural}", f"{first * size + second} {small}{plural}"


def repeating_decimals(draw: random.Random) -> Pair:
    again, once, whole = draw.randint(1, 98), draw.choice(["", "1", "07"]), draw.randint(0, 20)
    period = f"{again:02}"
    value = whole + Fraction(int(once or 0), 10 ** len(once)) + Fraction(again, 99 * 10 ** len(once))
    if draw.random() < 0.5:
        return rf"{whole}.{once}\overline{{{period}}}", str(value)
    return f"{whole}.{once}{period * 3}{draw.choice(['...', '…', chr(92) + 'ldots'])}", str(value)


def equal_towers(draw: random.Random) -> Pair:
    base, power = draw.randint(2, 5), draw.randint(2, 3)
    top = draw.randint(9, 12)
    return f"{base}^{{{power}^{{{top}}}}}", f"{base}^{{{power**top}}}"


def numbers_in_their_base(draw: random.Random) -> Pair:
    number, base = draw.randint(2, 500), draw.randint(2, 9)
    text = digits(number, base)
    return draw.choice([f"{text}_{{{base}}}", text]), f"{text}_{base}"


def values_in_two_notations(draw: random.Random) -> Pair:
    number = draw.randint(1, 99)
    return draw.choice([f"{number / 100} or {number}%", f"{number}/100, or {number / 100}"]), f"{number}/100"


def days_without_a_year(draw: random.Random) -> Pair:
    name, day = draw.choice(["January", "March", "June", "October", "December"]), draw.randint(1, 28)
    return draw.choice([f"{day} {name}", f"{name[:3]} {day}", f"{day} of {name}"]), f"{name} {day}"


def noon_and_midnight(draw: random.Random) -> Pair:
    named, shown = draw.choice([("noon", ["12:00", "12:00 PM", "12 pm"]), ("midnight", ["0:00", "12:00 AM", "00:00"])])
    return draw.choice([named, f"12 {named}", named.capitalize()]), draw.choice(shown)


def blanks_inside_numbers(draw: random.Random) -> Pair:
    number = draw.randint(1_000, 10 ** draw.randint(4, 12))
    blank = draw.choice([" ", r"\,", r"\;", r"\ ", "{,}", ",", "\u2009", "\u202f", "\u00a0", "~"])
    return f"{number:,}".replace(",", blank), str(number)


def vulgar_fractions(draw: random.Random) -> Pair:
    sign, value = draw.choice(
        [("½", "1/2"), ("⅓", "1/3"), ("¾", "3/4"), ("⅝", "5/8"), ("⅚", "5/6"), ("⅖", "2/5"), ("⅞", "7/8")]
    )
    whole = draw.randint(0, 60)
    return (sign if not whole else f"{whole}{draw.choice(['', ' '])}{sign}"), str(whole + Fraction(value))


def mixed_numbers(draw: random.Random) -> Pair:
    whole, below = draw.randint(1, 99), draw.randint(2, 30)
    above = draw.randint(1, below - 1)
    sign = draw.choice(["", "-"])
    form = draw.choice(
        [
            "{}{} {}/{}",
            r"{}{}\frac{{{}}}{{{}}}",
            r"{}{} \frac{{{}}}{{{}}}",
            r"{}{}\ \dfrac{{{}}}{{{}}}",
            r"${}{}\tfrac{{{}}}{{{}}}$",
        ]
    )
    reference = Fraction(whole * below + above, below)
    shown = draw.choice([str(reference), rf"\frac{{{reference.numerator}}}{{{reference.denominator}}}"])
    return form.format(sign, whole, above, below), sign + shown


def degrees(draw: random.Random) -> Pair:
    number = draw.choice([str(draw.randint(1, 360)), f"{draw.randint(1, 89)}.5"])
    first, second = draw.sample(
        ["", "°", r"^\circ", r"^{\circ}", r"\degree", " degrees", r"\text{ degrees}", " °", r"^{ \circ }"], 2
    )
    return number + first, number + second


def letters_with_a_bracket(draw: random.Random) -> Pair:
    letter = draw.choice("ABCDEFGHIJ")
    form = draw.choice(
        ["{})", "({})", "{}.", "[{}]", "**{}**", "({}).", "Option {}", r"\text{{{}}}", r"\textbf{{({})}}", "{}) the first", "({}) 12 m", "$\\text{{({})}}$"]
    )  # fmt: skip
    return form.format(letter), letter


def markup(draw: random.Random) -> Pair:
    answer = draw.choice([str(draw.randint(0, 999)), "Paris", r"\frac{1}{3}", "x+1", "2024-05-06", "5 cm", "H2O"])
    form = draw.choice(
        ["**{}**", "${}$", r"\({}\)", "`{}`", '"{}"', "*{}*", "{}.", r"\[{}\]", " {} ", "**{}**.", "“{}”"]
    )
    return form.format(answer), answer


def units_left_out_or_written_otherwise(draw: random.Random) -> Pair:
    number = draw.randint(2, 900)
    names = draw.choice(
        [["apples", "apple", ""], ["m", "meters", "metres", ""], ["km/h", "kilometers per hour", ""], ["m^2", "square meters", ""],
         ["h", "hours", ""], ["dollars", ""], [r"\text{cm}", "cm", "centimeters"], ["red balls", "balls"], ["kg", "kilograms"]]
    )  # fmt: skip
    first, second = draw.sample(names, 2)
    return f"{number} {first}".strip(), f"{number} {second}".strip()


def units_of_another_size(draw: random.Random) -> Pair:
    large, small, size = draw.choice(
        [
            ("m", "cm", 100),
            ("km", "m", 1000),
            ("h", "min", 60),
            ("kg", "g", 1000),
            ("L", "mL", 1000),
            ("m^2", "cm^2", 10_000),
        ]
    )
    number = draw.randint(1, 300)
    return f"{number} {large}", f"{number * size:,} {small}"


def names_of_values(draw: random.Random) -> Pair:
    name = draw.choice(
        ["x", "y", "f(2)", "a_1", "P(A)", r"\theta", "total cost", "AB", "S_{10}", "a + b", r"\cos\theta", "n"]
    )
    value = draw.choice([str(draw.randint(1, 900)), r"\frac{3}{4}", "2.5"])
    return draw.choice([f"{name} = {value}", f"{name}={value}", f"${name} = {value}$", f"{value} = {name}"]), value


def equations_that_hold(draw: random.Random) -> Pair:
    a, b = draw.randint(1, 99), draw.randint(1, 99)
    return draw.choice(
        [
            (f"{a}+{b} = {a + b}", str(a + b)),
            (f"{a} \\cdot {b} = {a * b}", str(a * b)),
            (f"x = {a}+{b} = {a + b}", str(a + b)),
        ]
    )


def times_in_either_form(draw: random.Random) -> Pair:
    hour, minute = draw.randint(1, 12), draw.randint(0, 59)
    late = draw.random() < 0.5
    shown = f"{hour}:{minute:02}{draw.choice(['', ' '])}{draw.choice(['pm', 'PM', 'p.m.'] if late else ['am', 'AM', 'a.m.'])}"
    return shown, f"{hour % 12 + 12 * late:02}:{minute:02}"


def dates_in_either_form(draw: random.Random) -> Pair:
    names = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ]
    year, month, day = draw.randint(1900, 2030), draw.randint(1, 12), draw.randint(1, 28)
    name = draw.choice([names[month - 1], names[month - 1][:3]])
    return draw.choice(
        [f"{name} {day}, {year}", f"{day} {name} {year}", f"{name} {day} {year}"]
    ), f"{year}-{month:02}-{day:02}"


def signs_of_printing(draw: random.Random) -> Pair:
    a, b = draw.randint(2, 99), draw.randint(2, 99)
    return draw.choice(
        [
            (f"−{a}", f"-{a}"),
            (f"{a} × {b}", str(a * b)),
            (f"x²+{a}", f"x^2+{a}"),
            (f"√{a}", rf"\sqrt{{{a}}}"),
            (f"{a}π", rf"{a}\pi"),
        ]
    )


def lists_in_another_order(draw: random.Random) -> Pair:
    items = [str(n) for n in draw.sample(range(-50, 50), draw.randint(2, 5))]
    return ", ".join(draw.sample(items, len(items))), draw.choice(["{}", r"\{{{}\}}"]).format(", ".join(items))


def another(draw: random.Random, one: str, make: Callable[[], str]) -> Pair:
    while (other := make()).casefold() == one.casefold():
        pass
    return other, one


WRONG = [
    letters_in_another_order, capitals_as_a_product, or_for_and, one_or_another_for_one, denials, other_dates, other_times,
    other_large_powers, other_formulas, other_moves, other_units, equations_that_do_not_hold,
    equations_that_are_to_be_solved, other_sides_of_an_equation, powers_of_powers, divisions_by_zero,
    symbols_in_other_case, variables_in_other_case, other_towers, products_of_vectors, other_bases,
]  # fmt: skip
RIGHT = [
    blanks_inside_numbers, vulgar_fractions, mixed_numbers, degrees, letters_with_a_bracket, markup,
    units_left_out_or_written_otherwise, units_of_another_size, names_of_values, equations_that_hold,
    times_in_either_form, dates_in_either_form, signs_of_printing, lists_in_another_order, words_in_other_case,
    numbers_in_words, scales, quantities_in_several_units, repeating_decimals, equal_towers, numbers_in_their_base,
    values_in_two_notations, days_without_a_year, noon_and_midnight,
]  # fmt: skip


def judged(maker: Maker, verdict: Verdict) -> list[tuple[str, str, Verdict]]:
    """The pairs whose verdict is another one."""
    got = [(answer, gold, verify(answer, gold)) for answer, gold in made(maker)]
    return [(answer, gold, found) for answer, gold, found in got if found is not verdict]


@pytest.mark.parametrize("maker", WRONG, ids=lambda maker: maker.__name__)
def test_what_differs_is_wrong(maker: Maker) -> None:
    assert judged(maker, Verdict.WRONG) == []


@pytest.mark.parametrize("maker", RIGHT, ids=lambda maker: maker.__name__)
def test_what_is_the_same_is_right_either_way_round(maker: Maker) -> None:
    assert judged(maker, Verdict.RIGHT) == []
    draw = random.Random(0)
    for answer, gold in draw.sample(list(made(maker)), 20):
        assert same(answer, gold), (answer, gold)
        assert same(gold, answer), (answer, gold)


def test_fractions_are_equal_exactly_when_their_cross_products_are() -> None:
    for a, b, c, d in itertools.product(range(1, 6), repeat=4):
        assert same(rf"\frac{{{a}}}{{{b}}}", f"{c}/{d}") == (a * d == b * c), gcd(a, b)


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("p or q", "q or p", Verdict.RIGHT),
        ("3x^2y", "3yx^2", Verdict.RIGHT),  # a product with numbers in it is algebra
        ("x^2-1", "(x-1)(x+1)", Verdict.RIGHT),
        ("(x+1)^2 = x^2+2x+1", "x^2+2x+1", Verdict.RIGHT),  # an identity holds
        ("50%", "0.5", Verdict.RIGHT),
        (r"\pm 3", "-3, 3", Verdict.RIGHT),
        ("H_2O", "H₂O", Verdict.RIGHT),
        ("Nf3+", "Nf3", Verdict.RIGHT),
        ("5 L", "5000 cm^3", Verdict.RIGHT),
        ("(1, 2)", "(2, 1)", Verdict.WRONG),
        ("0.0000014", "0.000001", Verdict.WRONG),
        ("10^{100}+1", "10^{100}", Verdict.WRONG),
        ("0.333333", "1/3", Verdict.RIGHT),
        ("0.33", "1/3", Verdict.WRONG),
        ("2x", "x2", Verdict.WRONG),
        ("1:2", "2:4", Verdict.RIGHT),
        (r"\sqrt{2} \text{ cm}", r"\sqrt{2} \text{ m}", Verdict.WRONG),
        ("5", "12:00", Verdict.WRONG),
        ("the red one", "red one", Verdict.RIGHT),
        ("[1,2)", "[1,2]", Verdict.WRONG),
        ("8!", "40320", Verdict.RIGHT),
        ("2**3 + 3**2", "17", Verdict.RIGHT),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", Verdict.RIGHT),
        ("5 MB", "5 Mb", Verdict.WRONG),
        ("5M", "5m", Verdict.WRONG),
        ("60 mph", "60 km/h", Verdict.WRONG),
        ("12 people", "12 persons", Verdict.RIGHT),
        ("A – 12 m", "A", Verdict.RIGHT),
        ("A - B", "A", Verdict.WRONG),
        ("Na^+", "Na+", Verdict.RIGHT),
        (r"\ce{H2O}", "H_2O", Verdict.RIGHT),
        ("5 to 3", "5:3", Verdict.RIGHT),
        ("3 2 1", "1, 2, 3", Verdict.RIGHT),
        ("the number 7", "7", Verdict.RIGHT),
    ],
)
def test_one_of_each(answer: str, gold: str, verdict: Verdict) -> None:
    assert verify(answer, gold) is verdict
