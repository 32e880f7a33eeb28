"""Read an answer out of the sentence that announces it, or out of the last number of a text."""

import re

_ANNOUNCED = re.compile(
    r"\bfinal\s+answer\b(?:\s+(?:is|are|was)\b|\s+(?:should|must|will|would)\s+be\b)?"
    r"|\banswers?\b[*_]{0,4}\s?[:=]"
    r"|\b(?:correct|right|best|final)\s+(?:option|choice)\b[^.:;!?\n=]{0,60}?(?:\s(?:is|would\s+be)\b|\s?:)"
    r"|\banswers?\b[^.:;!?\n=]{0,60}?\s(?:is|are|was|equals|be|comes\s+(?:out\s+)?to)\b"
    r"|\b(?:no|wait|actually|correction|sorry|oops|rather|i\s+mean)\b[,:.!\s—–-]{1,4}"
    r"(?:(?:it|that|this)(?:'s|’s|\s+is|\s+(?:should|must)\s+be)|make\s+(?:it|that)|should\s+be|correction:)(?![^\W\d_])",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"[\s:*_#`\"“>=]*")
_FILLER = re.compile(
    r"(?:(?:therefore|thus|hence|so|then|clearly|simply|just|also|indeed|actually|obviously|of course|definitely|"
    r"certainly|exactly|precisely|approximately|about|roughly|around|nearly|now|still|again|probably|in fact|"
    r"the (?:number|value|integer)(?= [-\d$\\])|equal to|given by|going to be|found to be|equals|as follows|that|"
    r"option|choice|either way)\b|[≈~,:]|\\approx\b)"
    r"[\s,:]*(?=\S)",
    re.IGNORECASE,
)
_ASSESSED = re.compile(
    r"(?:not|correct|right|wrong|incorrect|verified|confirmed|clear|below|above|consistent|unique|obvious|found|"
    r"obtained|computed|calculated|derived|determined|unknown|unclear|reasonable|plausible|expected|what|whether|"
    r"supposed|asked|required|needed|easy|simple|based)\b",
    re.IGNORECASE,
)
_OPENERS = (
    "since|because|as|which|so|but|where|given|when|who|that|while|although|though|meaning|making|using|giving|by|after|"
    "rather|instead|hence|therefore|thus|due|obtained|found|assuming|i|we|it|this|these|you|they|there|for|if|not|i\\.e|"
    "e\\.g|namely|just|exactly|approximately|about|roughly|rounded|and\\s+(?:so|i|we|it|that|this|not|nothing|the)|"
    "or\\s+(?:about|approximately|roughly|equivalently)|whereas|unless|with|checked|verified|confirmed"
)
_NUMERIC = r"(?:[\d$\\(\[{*-][^a-zA-Z\n]*)?"
_ENDS = re.compile(
    r"(?P<stop>(?<=[^\s.!?])[.!?]+(?!\s*[=+*/^≈])(?=[*_`\"”')\]]*(?:\s|$))|;(?=\s)|。)"
    rf"|(?P<clause>\s*,\s+(?:{_OPENERS})\b|\s*,(?:which|since|because|so|where|when|but)\b|,\s+the\b(?!.*\s(?:and|or)\s)|\s+(?:because|since|which|whereas|so\s+that|as\s+(?:we|i|it|shown|required|expected))\b)"
    r"|(?P<aside>\s+[([](?=[^()\[\]\n]*(?:[^\W\d_]{3}|[≈~]|\\approx)[^()\[\]\n]*[)\]]|\s*-?\d+\.\d+\s*[)\]])|(?<=[^\W\d_]{3})\s+\()"
    r"|(?P<dash>\s*—\s*(?=\S)|\s+(?:–|--?)\s+(?=[^\W\d_]{2}|I\s))"
    r"|(?P<about>\s*(?:≈|\\approx\b))",
    re.IGNORECASE,
)
_AFTER_NUMBER = re.compile(
    rf",\s+(?!(?:and|or)\s+[-$\\\d])(?=(?:[^\W\d_]{{2,}}|an?)[\s'’]|[^\W\d_]{{2,}}[.!?]?$)"
    rf"|\s+(?=(?:{_OPENERS})\s)(?!as\s+\d)|\s+in\s+(?:total|all|sum|fact|the\s+end)\b",
    re.IGNORECASE,
)
_MATHS = re.compile(r"\$\$(.{1,500}?)\$\$|\$([^$\n]{1,500})\$|\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]", re.DOTALL)
_BOLD = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")
_BLANK = r"(?:,|\{,\}|\\,|[\u00a0\u2009\u202f])"
_NUMBER = re.compile(
    r"\\d?frac\s*\{[^{}]{1,40}\}\s*\{[^{}]{1,40}\}|(?<![\w.])\d{4}-\d{2}-\d{2}(?!\w)|(?<![\w.:])\d{1,2}:\d{2}(?![\w:])"
    rf"|(?<![\w.])-?(?:\d{{1,3}}(?:{_BLANK}\d{{3}})+|\d+)(?:\.\d+)?(?:/\d+(?![\d.]))?(?!\w)|[¼-¾⅐-⅞]"
)
_DECORATION = re.compile(
    r"(?:\s*[\u2600-\u27bf\u2b50\u2b55\ufe0f\U0001f000-\U0001faff]|(?<=\s)[:;]-?[)D])+(?=[\s.!]*$)"
)  # ticks, stars, smiles
REACH = 500  # characters of a line that are read as its answer


def announced(text: str) -> str | None:
    """Return the answer that a text announces last, else its last number, else None.

    >>> announced("The answer is 12. I checked it twice."), announced("It is 5; the answer is therefore odd.")
    ('12', 'odd')
    >>> announced("I first got 9. No, the answer is 8!"), announced("The answer is 3.5 kg, which is right.")
    ('8', '3.5 kg')
    """
    spare = None
    for found in reversed(list(_ANNOUNCED.finditer(text))):
        phrase = _phrase(text, found.end())
        if phrase and _ASSESSED.match(phrase):
            spare = spare or phrase
            if told := _rest(text, found.end()):
                return told
        elif phrase:
            return phrase
    return _last_number(text) or spare


def _phrase(text: str, begin: int) -> str:
    """Return the answer that begins here: up to the end of the sentence, or what is no part of it any more."""
    begin = _after(_MARKUP, text, begin)
    while (after := _after(_FILLER, text, begin)) > begin:
        begin = _after(_MARKUP, text, after)
    line = text[begin : begin + REACH].partition("\n")[0]
    if (bold := _BOLD.match(line)) and not _ASSESSED.match(bold[2]):
        line = bold[2]
    elif "**" in line and text[max(0, begin - 2) : begin] == "**":
        line = line.partition("**")[0]
    whole = _MATHS.match(line)
    if whole and not re.match(r"\s*(?:,?\s*(?:and|or)\s+|,\s*)?(?:\$|\\\(|\d)", line[whole.end() :]):
        unit = re.match(r"\s*([^\W\d_]+(?:[/^]\S+)?)\s*(?:[.!,;]|$)", line[whole.end() :])
        if not unit or re.match(_OPENERS + r"|and|or", unit[1], re.IGNORECASE):
            inner = next(group for group in whole.groups() if group is not None)
            exact = re.split(r"≈|\\approx(?![A-Za-z])", inner.strip())[0] or inner
            return exact.strip().rstrip(".").rstrip()
    return _trimmed(line)


def _trimmed(line: str) -> str:
    shut = [(found.start(), found.end()) for found in _MATHS.finditer(line)]
    for found in _ENDS.finditer(line):
        if found.start() and not any(begin < found.start() < end - 1 for begin, end in shut) and _level(line, found):
            line = line[: found.start()]
            break
    if re.match(r"[-$\\(\[{]?[\d¼-¾.]", line) and (after := _AFTER_NUMBER.search(line)) and _level(line, after):
        line = line[: after.start()]
    line = _DECORATION.sub("", line).strip().strip('*_`"“”').strip()
    if line.count("$") == 2 and line.startswith("$") and line.endswith("$"):
        line = line.strip("$")
    return line.rstrip(".,;:").strip("*").rstrip()


def _level(line: str, found: re.Match[str]) -> bool:
    """Return whether a cut stands outside every bracket."""
    before = line[: found.start()]
    return sum(before.count(sign) for sign in "([{") <= sum(before.count(sign) for sign in ")]}")


def _rest(text: str, begin: int) -> str | None:
    """Return what a sentence gives after all ("is not 9 but 8", "is found by adding, which gives 7")."""
    line = text[begin : begin + REACH].partition("\n")[0]
    sentence = re.split(r"(?<=[^\s.])[.!?](?=\s|$)", line)[0]
    told = re.search(r"(?:\bbut(?: rather)?|;\s*it is|\bgiving|\bgives|\bwhich is|\bis|=|\bto be)\s+(.*)", sentence[3:])
    return _last_number(told[1]) if told else None


def _last_number(text: str) -> str | None:
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return None
    last = numbers[-1]
    for maths in _MATHS.finditer(text):
        if maths.start() < last.start() and last.end() <= maths.end():
            inner = next(group for group in maths.groups() if group is not None)
            return inner.rpartition("=")[2].strip().rstrip(".").rstrip() or last[0]
    return last[0]


def _after(pattern: re.Pattern[str], text: str, begin: int) -> int:
    found = pattern.match(text, begin)
    return found.end() if found else begin
