"""The pocket reasoner's tokenizer and training examples, made before training starts so that training never waits."""

import itertools
import json
import multiprocessing
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from satisfice.made.traces import ASSISTANT, END, END_THINK, PAD, THINK, USER, Trace, prompt_text, write_trace
from satisfice.tasks.families import TIERS, parse_name
from satisfice.tasks.load import split_of

SPECIAL = (PAD, USER, ASSISTANT, THINK, END_THINK, END)
VOCABULARY = 1024
PRETOKENS = (
    r" [-+*/=] |\d| ?[A-Za-z]+|\n|[^\sA-Za-z\d]|[ \t\r\f\v]+|\s"  # digits apart; a line end never joins a cue word
)
IGNORED = -100
LONGEST = 1024

# Drawn how often: (family, tier or configuration, weight at first, weight later). Short problems first: the model
# learns where to look before it learns to add. The hard chain sums are what most measurements run on.
SHORT_SUMS = {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 2}
BROAD_SUMS = {"min_terms": 2, "max_terms": 9, "min_digits": 1, "max_digits": 3}
SOURCES: tuple[tuple[str, str | dict[str, int], int, int], ...] = (
    ("chain-sum", SHORT_SUMS, 50, 4),
    ("chain-sum", BROAD_SUMS, 15, 20),
    ("chain-sum", "medium", 0, 6),
    ("chain-sum", "hard", 0, 34),
    ("leg-counting", "easy", 15, 3),
    ("leg-counting", "medium", 0, 5),
    ("leg-counting", "hard", 0, 6),
    ("products", "easy", 10, 4),
    ("products", "medium", 0, 5),
    ("products", "hard", 0, 3),
    ("gcd", "easy", 10, 4),
    ("gcd", "medium", 0, 4),
    ("gcd", "hard", 0, 4),
)
FIRST = 0.12  # of the run is "at first"
# Whole chains teach thinking. Chains that are cut and answered at once teach what a trial answer is worth, and those
# without any thinking make answering at once a fair baseline.
WHOLE, CUT, DIRECT = 0.62, 0.28, 0.10
CUT_AT_CUE = 0.6  # of the cuts; the others are at any line end

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A text to learn from, and the character spans of it that count in the loss."""

    text: str
    graded: tuple[tuple[int, int], ...]


def train_questions(seed: int, first: bool = False) -> Iterator[tuple[str, str, str]]:
    """Endless (family, question, answer), drawn by the weights of `SOURCES` from the train split alone."""
    import reasoning_gym

    rng = random.Random(seed)
    size = 10**8
    datasets, weights = [], []
    for family, which, at_first, later in SOURCES:
        config = TIERS[family][which] if isinstance(which, str) else which
        dataset = reasoning_gym.create_dataset(
            parse_name(family).dataset, seed=rng.randrange(2**31), size=size, **config
        )
        datasets.append((family, dataset))
        weights.append(at_first if first else later)
    for index in itertools.count():
        family, dataset = rng.choices(datasets, weights)[0]
        entry = dataset[index % size]
        if split_of(entry["question"]) == "train":
            yield family, entry["question"], entry["answer"]


def make_example(trace: Trace, rng: random.Random) -> Example:
    """Return a whole chain, a chain cut short and answered at once, or an answer without any thinking."""
    prompt = prompt_text(trace.question)
    kind = rng.random()
    if kind < WHOLE:
        text = prompt + trace.thinking + END_THINK + trace.answer + END
        return Example(text=text, graded=_without(trace.hidden, len(prompt), len(text)))
    cut = 0
    if kind < WHOLE + CUT:
        cut = rng.choice(trace.cues if rng.random() < CUT_AT_CUE else trace.lines or trace.cues)
    # The end of thinking is forced here, so it is not graded: the model must not learn to stop at random.
    head = prompt + trace.thinking[:cut] + END_THINK
    text = head + trace.answer + END
    graded = _without(trace.hidden, len(prompt), len(prompt) + cut)
    return Example(text=text, graded=(*graded, (len(head), len(text))))


def _without(hidden: tuple[tuple[int, int], ...], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return the span from start to end less the hidden spans, which are in order and count from `start`."""
    kept, at = [], start
    for low, high in hidden:
        kept.append((at, min(start + low, end)))
        at = start + high
    return tuple((low, high) for low, high in (*kept, (at, end)) if low < high)


def train_tokenizer(directory: Path, seed: int = 0) -> None:
    """Learn a byte-level BPE with digits apart from our prompts and traces and from other families' questions."""
    import reasoning_gym
    from reasoning_gym.factory import DATASETS
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(seed)
    corpus = []
    for family, question, answer in itertools.islice(train_questions(seed), 12_000):
        trace = write_trace(family, question, answer, rng)
        corpus += [question, trace.thinking]
    for name in (
        "basic_arithmetic",
        "simple_equations",
        "lcm",
        "decimal_chain_sum",
        "countdown",
        "letter_counting",
        "count_bits",
    ):
        if name in DATASETS:
            dataset = reasoning_gym.create_dataset(name, seed=seed, size=200)
            corpus += [dataset[index]["question"] for index in range(200)]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, normalized=False, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, THINK, END_THINK],
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(directory)
    path = directory / "tokenizer_config.json"  # a class name that every release of transformers since 4 knows
    config = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.pop("backend", None)
    path.write_text(json.dumps(config, indent=2) + "\n")


def write_shards(
    directory: Path, examples: int, shards: int, seed: int, first: float = FIRST, workers: int = 2
) -> list[Path]:
    """Write tokenised examples to `shard-NNN.npz` files, the share `first` of them with short problems.

    Files that are there already are kept, so a killed run goes on.
    """
    jobs = [(directory, index, examples // shards, seed + 1 + index, index < first * shards) for index in range(shards)]
    missing = [job for job in jobs if not _shard_path(job[0], job[1]).exists()]
    if missing:
        with multiprocessing.get_context("spawn").Pool(min(workers, len(missing))) as pool:
            for path in pool.imap_unordered(_write_shard, missing):
                print(f"wrote {path}", flush=True)
    return [_shard_path(directory, index) for index in range(shards)]


def _shard_path(directory: Path, index: int) -> Path:
    return directory / f"shard-{index:03d}.npz"


def _write_shard(job: tuple[Path, int, int, int, bool]) -> str:
    from tokenizers import Tokenizer

    directory, index, count, seed, first = job
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    rng = random.Random(seed)
    ids: list[np.ndarray[Any, np.dtype[np.int16]]] = []
    labels: list[np.ndarray[Any, np.dtype[np.int16]]] = []
    source = train_questions(seed, first)
    while len(ids) < count:
        batch = []
        for family, question, answer in itertools.islice(source, 512):
            batch.append(make_example(write_trace(family, question, answer, rng), rng))
        for example, encoding in zip(batch, tokenizer.encode_batch([e.text for e in batch]), strict=True):
            if len(encoding.ids) <= LONGEST:
                tokens = np.array(encoding.ids, dtype=np.int16)
                starts = np.array([offset[0] for offset in encoding.offsets])
                graded = np.zeros(len(tokens), dtype=bool)
                for low, high in example.graded:
                    graded |= (starts >= low) & (starts < high)
                ids.append(tokens)
                labels.append(np.where(graded, tokens, IGNORED).astype(np.int16))
    lengths = np.array([len(row) for row in ids], dtype=np.int32)
    temporary = directory / f"shard-{index:03d}.part.npz"
    np.savez(temporary, ids=np.concatenate(ids), labels=np.concatenate(labels), lengths=lengths)
    temporary.rename(_shard_path(directory, index))
    return json.dumps({"shard": index, "examples": len(ids), "tokens": int(lengths.sum())})


class Batches:
    """Batches of examples of like length, about `tokens` tokens each: shuffled within a shard, shards in order."""

    def __init__(self, paths: list[Path], tokens: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rows: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        self.batches: list[list[int]] = []
        for path in paths:
            with np.load(path) as shard:
                ends = np.cumsum(shard["lengths"])
                base = len(self.rows)
                self.rows += list(
                    zip(np.split(shard["ids"], ends[:-1]), np.split(shard["labels"], ends[:-1]), strict=True)
                )
                order = base + np.argsort(shard["lengths"] + rng.random(len(ends)), kind="stable")
            batches: list[list[int]] = [[]]
            for row in order:
                if batches[-1] and (len(batches[-1]) + 1) * len(self.rows[row][0]) > tokens:
                    batches.append([])
                batches[-1].append(int(row))
            self.batches += [batches[index] for index in rng.permutation(len(batches))]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        import torch

        rows = [self.rows[row] for row in self.batches[index]]
        width = -(-max(len(ids) for ids, _ in rows) // 16) * 16
        ids = np.zeros((len(rows), width), dtype=np.int64)  # 0 is <|pad|>
        labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
        for place, (tokens, graded) in enumerate(rows):
            ids[place, : len(tokens)] = tokens  # padding on the right: a causal model needs no mask for it
            labels[place, : len(graded)] = graded
        return {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
