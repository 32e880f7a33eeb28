"""Find the answer in what a model wrote."""

import re
from typing import Literal

from satisfice.answers.announced import announced

AnswerForm = Literal["boxed", "plain"]
"""Where a model puts its answer: in a `\\boxed{}`, or the visible text is the answer and nothing else."""

_MARK = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)  # what braces mean; an escaped one is text


def extract_strict(text: str, form: AnswerForm = "boxed") -> str | None:
    r"""Read the answer where the model was asked to put it, or None. This is what headline numbers are made of.

    >>> extract_strict(r"So it is \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    >>> extract_strict("417\n", "plain")
    '417'
    >>> extract_strict("So it is 417.") is None
    True
    """
    return boxed(text) if form == "boxed" else text.strip() or None


def extract_flexible(text: str) -> str | None:
    r"""Read the answer wherever it may be: in a box, where a sentence announces it, else the last number.

    Of a sentence the answer alone is read: without reasons, asides, emphasis and the stop at its end; with its unit.

    >>> extract_flexible("**Final Answer:** 12 apples.")
    '12 apples'
    >>> extract_flexible("3 + 4 makes 7, no doubt")
    '7'
    >>> extract_flexible("no idea") is None
    True
    """
    return boxed(text) or announced(text)


def boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{}` whose braces balance; None when there is none or it is empty.

    >>> boxed(r"\boxed{1}, no: \boxed{\{2\}} or \boxed{3")
    '\\{2\\}'
    """
    opened: list[tuple[int, bool]] = []  # where each open brace's content begins, and whether it is a box
    last = (0, 0)
    for mark in _MARK.finditer(text):
        if mark[0] == "}":
            begin, box = opened.pop() if opened else (0, False)
            if box and begin > last[0]:
                last = (begin, mark.start())
        elif mark[0].endswith("{") and mark[0] != r"\{":
            opened.append((mark.end(), mark[0] != "{"))
    return text[slice(*last)].strip() or None


def read_trial(text: str) -> str | None:
    r"""Read a trial answer, whose prompt may have opened the box already: up to the first unmatched `}`.

    >>> read_trial(r"\frac{1}{2}} so")
    '\\frac{1}{2}'
    >>> read_trial(" 417")
    '417'
    """
    found = boxed(text)
    if found is not None:
        return found
    depth = 0
    for mark in _MARK.finditer(text):
        depth += (mark[0].endswith("{") and mark[0] != r"\{") - (mark[0] == "}")
        if depth < 0:
            text = text[: mark.start()]
            break
    return text.strip() or None
