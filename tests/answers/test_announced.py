# ruff: noqa: E501  (one row of a table is one line)
"""Each way to put an answer into a sentence, with two hundred sentences that a generator makes."""

import random
from collections.abc import Callable, Sequence

import pytest

from satisfice.answers import extract_flexible, same

SIZE = 200
NUMBERS: Sequence[Callable[[random.Random], str]] = (
    lambda draw: str(draw.randint(-99, 9_999)),
    lambda draw: f"{draw.randint(1_000, 9_999_999):,}",
    lambda draw: f"{draw.randint(0, 99)}.{draw.randint(1, 99)}",
    lambda draw: f"{draw.randint(1, 9)}/{draw.randint(10, 99)}",
)
LATEX: Sequence[Callable[[random.Random], str]] = (
    lambda draw: rf"$\frac{{{draw.randint(1, 9)}}}{{{draw.randint(10, 99)}}}$",
    lambda draw: rf"\({draw.randint(1, 99)}\sqrt{{{draw.choice([2, 3, 5, 7])}}}\)",
    lambda draw: f"${draw.randint(1, 999)}$",
)
ANNOUNCED = ["The answer is {}", "So the answer is {}", "Therefore, the final answer is {}", "Answer: {}", "**Answer:** {}",
             "**Final Answer:** {}", "The correct answer is: {}", "Final answer: {}", "We get the answer {}\nThe answer is {}",
             "The answer to 3 + 4 and so on is {}", "**Answer**: {}", "answer = {}", "ANSWER: {}"]  # fmt: skip

# What may stand around an answer: before it, after it.
AROUND = {
    "prose": [("", ". I checked it twice."), ("", ". This took 3 steps."), ("", ".\n\nLet me check: 2 + 2 = 4."), ("", ". Done!"),
              ("", ". We verified that the answer is correct."), ("", " because 3*4 = 12."), ("", " since it is so.")],
    "an approximation in brackets": [("", " (approximately)"), ("", " (approximately)."), ("", " (about 17)."), ("", " (≈ 0.33)."),
                                     ("", r" ($\approx 0.3$)."), ("", " (roughly 5.2)"), ("", " (rounded to the nearest whole)")],
    "a reason behind a comma": [("", ", since 3*4 = 12."), ("", ", because that is 7."), ("", ", which is 0.5."), ("", ", as we saw in step 2."),
                                ("", ", not 13."), ("", ", and I am sure."), ("", ", so we are done."), ("", ", using 2 steps.")],
    "emphasis": [("**", "**"), ("**", "**."), ("**", "** in all."), ("*", "*."), ("`", "`"), ('"', '".'), ("**", "**, since 2 + 2 = 4.")],
    "a stop": [("", "."), ("", "!"), ("", "!!"), ("", ". "), ("", ";"), ("", ".\n"), ("", ""), ("", "!\n\nThat was 1 problem.")],
    "adverbs": [("therefore ", "."), ("thus ", ""), ("clearly ", "."), ("then ", "."), ("simply ", ""), ("just ", "!"), ("indeed ", "."),
                ("exactly ", "."), ("approximately ", "."), ("given by ", "."), ("equal to ", "."), ("hence, ", ".")],
    "an apposition": [("", ", a whole number."), ("", ", isn't it?"), ("", ",which is right."), ("", " , so we stop."), ("", ", an odd one.")],
    "decoration": [("", " ✓"), ("", " ✅."), ("", " 🎉"), ("", " :)"), ("#", "."), ("_", "_."), ("the number ", "."), ("", " in total.")],
    "a dash": [("", " - I checked."), ("", " – as expected."), ("", " — 3 times 4 is 12."), ("", " -- done in 2 steps.")],
}  # fmt: skip


def sentences(name: str) -> list[tuple[str, str]]:
    draw = random.Random(name)
    made = []
    for _ in range(SIZE):
        answer = draw.choice([*NUMBERS, *LATEX])(draw)
        before, after = draw.choice(AROUND[name])
        announced = draw.choice(ANNOUNCED)
        made.append((announced.replace("{}", before + answer + after), answer))
    return made


def wrong(made: Sequence[tuple[str, str]]) -> list[tuple[str, str, str | None]]:
    read = [(text, answer, extract_flexible(text)) for text, answer in made]
    return [(text, answer, got) for text, answer, got in read if got != answer.strip("$") and not same(got, answer)]


@pytest.mark.parametrize("name", AROUND)
def test_an_answer_is_read_out_of_what_stands_around_it(name: str) -> None:
    assert wrong(sentences(name)) == []


def test_a_unit_is_read_with_the_number_and_changes_nothing_about_it() -> None:
    draw = random.Random("units")
    made = []
    for _ in range(SIZE):
        number = draw.choice(NUMBERS)(draw).replace(",", draw.choice([",", "{,}"]))
        unit = draw.choice(
            ["dollars", "apples", "cm", "kg", "km/h", "meters", "square meters", "people", "degrees", "hours"]
        )
        after = draw.choice([".", "", ", since 2 + 2 = 4.", " (about 5).", "!", " because 3 is odd."])
        made.append((draw.choice(ANNOUNCED).replace("{}", f"{number} {unit}{after}"), number.replace("{,}", ",")))
    assert wrong(made) == []
    assert extract_flexible("The answer is 5 cm.") == "5 cm"
    assert not same(extract_flexible("The answer is 5 cm."), "5 m")


def test_a_chosen_option_is_an_answer() -> None:
    draw = random.Random("options")
    for _ in range(SIZE):
        letter = draw.choice("ABCDE")
        told = draw.choice(["({})", "{}", "**{}**", "{}.", "({}) 12 m", "{}: 12 m", r"\text{{({})}}"]).format(letter)
        text = draw.choice(
            ["The correct option is {}", "So the right choice is {}", "Final choice: {}", "The answer is option {}"]
        )
        assert same(extract_flexible(text.format(told)), letter), text.format(told)


def test_the_last_of_several_answers_counts() -> None:
    draw = random.Random("corrections")
    made = []
    for _ in range(SIZE):
        first, last = draw.sample(range(1, 500), 2)
        form = draw.choice(
            ["I first got {0}. No, the answer is {1}!", "The answer is {0}. Wait, no, it is {1}.", "The answer is {0}? No, it's {1}.",
             "The answer is {0}. Actually, it should be {1}.", "The answer is {0}. Correction: the answer is {1}.",
             "First I thought of {0}, but the final answer is {1}", "The answer is {0}.\nSorry, that should be {1}.",
             "The answer is not {0} but {1}.", "I had {0}. Now I get {1}!", "The answer is {0}. I mean, it is {1}"]
        )  # fmt: skip
        made.append((form.format(first, last), str(last)))
    assert wrong(made) == []


def test_words_are_read_as_well() -> None:
    draw = random.Random("words")
    made = []
    for _ in range(SIZE):
        word = draw.choice(
            ["odd", "even", "yes", "no", "Paris", "blue", "Monday", "true", "impossible", "the red ball", "New York"]
        )
        before = draw.choice(["", "therefore ", "clearly ", "thus ", "**", "simply "])
        after = draw.choice(
            [
                "",
                ".",
                "!",
                ", because 7 is odd.",
                ". I checked 3 times.",
                ", which is right.",
                " (see above).",
                ".\nDone.",
            ]
        )
        made.append((f"The answer is {before}{word}{'**' if before == '**' else ''}{after}", word))
    assert wrong(made) == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is $5$ meters.", "5 m"),
        ("Answer: x = 5 or x = 6", "x = 5 or x = 6"),
        ("The answer is (1, 2).", "(1, 2)"),
        ("The answer is 1, 2, and 3.", "1, 2, 3"),
        ("The answer is **B) Paris**.", "B"),
        ("The answer is Paris, the capital of France.", "Paris"),
        ("The answer is $\\sqrt{2} \\approx 1.414$.", r"\sqrt{2}"),
        ("The answer is\n\n$$\\frac{1}{2}$$", "1/2"),
        ("so $x = \\frac{1}{2}$.", "1/2"),
        ("The answer is 5:30 PM.", "17:30"),
        ("The answer is $1,234.50.", "1234.5"),
        ("My answer: 7. Let me double check: 3+4 = 7.", "7"),
        ("The answer is found by adding, which gives 7.", "7"),
        ("The answer is x^2 + 1.", "x^2+1"),
        ("The answer is 0.5 or 1/2.", "0.5 or 1/2"),
        (r"so it is $5!$", "120"),
        ("The answer is 12 and I am sure.", "12"),
        ("It costs 1{,}000 dollars", "1000"),
        ("It is 12:30", "12:30"),
    ],
)
def test_one_of_each(text: str, answer: str) -> None:
    assert same(extract_flexible(text), answer), extract_flexible(text)
