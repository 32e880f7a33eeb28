"""What the reasoning adapter of SmolLM2 learns from: problems of several families, worked out in plain English.

An example is a list of pieces that are tokenised one by one, exactly as an engine does it when it cuts thinking and
puts something in. Whole chains teach thinking; chains that are cut and answered at once teach what a trial answer is
worth; answers without any thinking make answering at once a fair baseline.
"""

import itertools
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from satisfice.made.pocket_data import IGNORED
from satisfice.made.smollm2_families import FAMILIES, Unreadable, Work, countdown
from satisfice.made.smollm2_prose import RETRY, Prose, Uneven
from satisfice.tasks.families import TIERS
from satisfice.tasks.load import split_of

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
"""SmolLM2's chat form without its system message, and with thinking open."""

CLOSE, SKIP, END = "\n</think>\n\n", "</think>\n\n", "<|im_end|>"
LONGEST = 768  # tokens; longer chains are left out

# (family, its configuration, weight). What a model of this size can learn in an hour or two has the most weight.
# Families without tiers are measured with reasoning-gym's defaults, so those are among what is learned, with easier
# ones beside them, because a first answer that is never right teaches nothing.
SOURCES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("chain_sum", dict(TIERS["chain-sum"]["easy"]), 24),
    ("chain_sum", dict(TIERS["chain-sum"]["medium"]), 8),
    ("leg_counting", dict(TIERS["leg-counting"]["easy"]), 12),
    ("leg_counting", dict(TIERS["leg-counting"]["medium"]), 3),
    ("products", dict(TIERS["products"]["easy"]), 6),
    ("basic_arithmetic", {"max_terms": 3, "max_digits": 2}, 10),
    ("basic_arithmetic", {}, 2),
    ("simple_equations", {"max_value": 30, "max_terms": 3}, 8),
    ("simple_equations", {}, 8),
    ("gsm_symbolic", {}, 14),
    ("countdown", {"min_numbers": 3, "max_numbers": 4, "max_value": 25, "min_target": 10, "max_target": 99}, 3),
)
SLIPS = (0.0, 0.0, 0.03, 0.06, 0.12, 0.2)  # per written result in the first pass; drawn per trace
CHECKS_SHORT, CHECKS_LONG, SHORT = (0, 1, 1, 2, 2, 3, 4), (0, 1, 1, 1, 2, 3), 4  # looks at the whole; steps of a pass
PASSES = 3
WHOLE, CUT = 0.62, 0.28  # of the examples; the rest is answered at once
CUT_AT_PARAGRAPH = 0.7  # of the cuts; the others are at the end of a line

_OPENINGS = ("Okay, let me think about this.", "Okay, so here is the problem.", "Let me see.", "Alright.", "Okay.")
_LOOKS = (
    "Wait, let me check this.",
    "Hmm, let me go back over it.",
    "Wait, I should make sure.",
    "Hmm, is that right?",
)
_OTHERS = ("Alternatively, let me do it from the start again.", "Hmm, once more from the beginning.")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One worked problem. Offsets are characters of `thinking`, spans half open."""

    question: str
    thinking: str
    answer: str
    hidden: tuple[tuple[int, int], ...]  # slips: read, never graded
    paragraphs: tuple[int, ...]  # where each but the first begins


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Text that is tokenised by itself, and the character spans of it that count in the loss."""

    text: str
    graded: tuple[tuple[int, int], ...] = ()


def write_trace(dataset: str, question: str, answer: str, entry: Any, rng: random.Random) -> Trace:
    """Work a problem out in English, slips and repairs included.

    Raises:
        Unreadable: the solver of the family does not understand the question.
    """
    for _ in range(20):
        prose = Prose(rng, rng.choice(SLIPS))
        try:
            if dataset == "countdown":
                prose.slip_rate = 0.0
                numbers, target = entry["metadata"]["numbers"], entry["metadata"]["target"]
                prose.say(rng.choice(_OPENINGS))
                countdown(numbers, target, answer, prose, rng.choice((0, 1, 1, 2, 3)))
                _state(prose, answer)
                found = answer
            else:
                found = str(_think(FAMILIES[dataset](question, entry), prose))
        except Uneven:
            continue
        if found == answer:  # slips can cancel out in a check, and such a trace teaches the wrong thing
            return Trace(
                question=question, thinking=prose.text, answer=answer, hidden=tuple(prose.hidden),
                paragraphs=tuple(prose.paragraphs),
            )  # fmt: skip
    raise Unreadable(question)


def _think(work: Work, prose: Prose) -> int:
    slips, rng = prose.slip_rate, prose.rng
    prose.say(rng.choice(_OPENINGS))
    answer = _pass(work, prose)
    planned = rng.choice(CHECKS_SHORT if len(prose.done) <= SHORT else CHECKS_LONG)  # before the work is judged
    passes, checks, holds = 1, 0, planned == 0
    while passes < PASSES and (checks < planned or not holds):
        if checks and holds and rng.random() < 0.3:
            prose.paragraph(rng.choice(_OTHERS))
            before, prose.slip_rate = answer, slips * RETRY
            answer = _pass(work, prose)
            holds = answer == before
            if not holds:
                prose.paragraph(f"Hmm, that is {answer}, and before I had {before}.")
        else:
            prose.paragraph(rng.choice(_LOOKS))
            holds = prose.check()
            if not holds:
                passes += 1
                prose.slip_rate = slips * RETRY if passes < PASSES else 0.0
                prose.paragraph("Let me do it again.")
                answer = _pass(work, prose)
        checks += 1
    return answer


def _pass(work: Work, prose: Prose) -> int:
    prose.done = []
    answer = work(prose)
    _state(prose, str(answer))
    return answer


def _state(prose: Prose, answer: str) -> None:
    prose.paragraph(f"So the answer is {answer}.")
    prose.paragraphs.pop()  # no cue word: nobody should cut here for one


def visible(answer: str) -> str:
    """Return the answer as a person is shown it."""
    return f"The answer is \\boxed{{{answer}}}."


def prompt_text(question: str) -> str:
    """Return what the model reads before it thinks; the chat template renders the same."""
    return f"<|im_start|>user\n{question}{END}\n<|im_start|>assistant\n<think>\n"


def make_example(trace: Trace, rng: random.Random) -> list[Piece]:
    """Return a whole chain, a chain cut short and answered at once, or an answer without any thinking."""
    prompt, last = Piece(text=prompt_text(trace.question)), visible(trace.answer) + END
    kind = rng.random()
    if kind < WHOLE:
        text = trace.thinking + CLOSE + last
        return [prompt, Piece(text=text, graded=_without(trace.hidden, len(text)))]
    answer = Piece(text=last, graded=((0, len(last)),))
    if kind >= WHOLE + CUT:
        return [prompt, Piece(text=SKIP), answer]
    lines = [at + 1 for at, sign in enumerate(trace.thinking) if sign == "\n"]
    places = trace.paragraphs if trace.paragraphs and rng.random() < CUT_AT_PARAGRAPH else lines or [0]
    head = trace.thinking[: rng.choice(places)]
    # Where it was cut is not graded: the model must not learn to stop at random.
    return [prompt, Piece(text=head, graded=_without(trace.hidden, len(head))), Piece(text=CLOSE), answer]


def _without(hidden: Iterable[tuple[int, int]], end: int) -> tuple[tuple[int, int], ...]:
    """Return the span up to `end` less the hidden spans, which are in order."""
    kept, at = [], 0
    for low, high in hidden:
        kept.append((at, min(low, end)))
        at = high
    return tuple((low, high) for low, high in (*kept, (at, end)) if low < high)


def train_problems(seed: int) -> Iterator[tuple[str, str, str, Any]]:
    """Endless (family, question, answer, entry), drawn by the weights of `SOURCES` from the train split alone."""
    import reasoning_gym

    rng = random.Random(seed)
    size = 10**6  # gsm_symbolic draws a list of this length when it is made
    sets = [
        (name, reasoning_gym.create_dataset(name, seed=rng.randrange(2**31), size=size, **config))
        for name, config, _ in SOURCES
    ]
    for index in itertools.count():
        name, dataset = rng.choices(sets, [weight for _, _, weight in SOURCES])[0]
        entry = dataset[index % size]
        if entry["answer"] and split_of(entry["question"]) == "train":
            yield name, entry["question"], str(entry["answer"]), entry


def examples(seed: int) -> Iterator[list[Piece]]:
    """Endless examples; problems that no solver understands are left out."""
    rng = random.Random(seed)
    for dataset, question, answer, entry in train_problems(seed):
        try:
            trace = write_trace(dataset, question, answer, entry, rng)
        except Unreadable:
            continue
        yield make_example(trace, rng)


Row = tuple[list[int], list[int]]
"""Token ids, and labels: the ids that count in the loss, `IGNORED` elsewhere."""


def tokenise(pieces: Sequence[Piece], tokenizer: Any) -> Row:
    """Tokenise piece by piece with a `tokenizers.Tokenizer`; a token counts when its first character does."""
    ids: list[int] = []
    labels: list[int] = []
    for piece in pieces:
        encoding = tokenizer.encode(piece.text, add_special_tokens=False)
        for token, (start, _) in zip(encoding.ids, encoding.offsets, strict=True):
            ids.append(token)
            labels.append(token if any(low <= start < high for low, high in piece.graded) else IGNORED)
    return ids, labels


def write_shards(folder: Path, tokenizer_file: Path, count: int, shards: int, seed: int) -> list[Path]:
    """Write tokenised examples to `shard-NNN.npz`; files that are there are kept, so a killed run goes on."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    paths = []
    for index in range(shards):
        paths.append(folder / f"shard-{index:03d}.npz")
        if not paths[-1].exists():
            rows = (tokenise(pieces, tokenizer) for pieces in examples(seed + 1 + index))
            fitting = itertools.islice((row for row in rows if len(row[0]) <= LONGEST), count // shards)
            print(json.dumps({"shard": index, **save_rows(paths[-1], fitting)}), flush=True)
    return paths


def save_rows(path: Path, rows: Iterable[Row]) -> dict[str, int]:
    """Save tokenised rows as `training.pocket_data.Batches` reads them, whole or not at all."""
    kept = list(rows)
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary,
        ids=np.array([token for ids, _ in kept for token in ids], dtype=np.int32),
        labels=np.array([label for _, labels in kept for label in labels], dtype=np.int32),
        lengths=np.array([len(ids) for ids, _ in kept], dtype=np.int32),
    )
    temporary.rename(path)
    return {"examples": len(kept), "tokens": sum(len(ids) for ids, _ in kept)}
