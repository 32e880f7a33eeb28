"""From recordings to a folder of training data with its audit: what `satisfice shorten` does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import satisfice
from satisfice.catalog import as_json, canonical
from satisfice.core.builder import Builder, Pair, Row
from satisfice.core.errors import BadInput
from satisfice.core.fit import require
from satisfice.core.trace import ABSENCE, LOOKS, Trace, provided
from satisfice.methods.tuning.first_correct import FirstCorrect
from satisfice.models.resolve import model_folder
from satisfice.models.words import TokenizerWords
from satisfice.recordings.recording import Recording
from satisfice.report.audit import audit_page
from satisfice.tasks import load_tasks
from satisfice.training.audit import audit, shown, warnings
from satisfice.training.rows import Encode, lines, rows_of, texts_of, write_data
from satisfice.training.traces import folders, model_of, read_traces


@dataclass(frozen=True, kw_only=True)
class ShortenPlan:
    """What to make of which recordings; everything that a person can get wrong is checked when it is made."""

    recordings: tuple[Recording, ...]
    builder: Builder
    out: Path
    least: int = 100  # rows or pairs, fewer are refused
    evaluated: tuple[str, ...] = ()  # tasks that models will be compared on; empty: those that were recorded

    def __post_init__(self) -> None:
        if self.least < 1:
            raise BadInput(f"least must be at least 1, got {self.least}.")
        out = self.out
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BadInput(f"out: {out} is there already. Give a new folder: training data is never written over.")


def make_plan(
    names: Sequence[Path], builder: Builder, out: Path, *, least: int = 100, evaluated: Sequence[str] = ()
) -> ShortenPlan:
    """Read recordings and return what to make of them.

    Raises:
        BadInput: a recording that cannot be read, is empty or named twice; an output folder that is not empty.
    """
    plan = {"builder": builder, "out": out, "least": least, "evaluated": tuple(evaluated)}
    ShortenPlan(recordings=(), **plan)  # type: ignore[arg-type]  # what needs no reading is told first
    return ShortenPlan(recordings=tuple(folders(names)), **plan)  # type: ignore[arg-type]


def shorten(plan: ShortenPlan, model: str | None = None, scorer: str | None = None) -> dict[str, Any]:
    """Build training data from recordings and write it with its audit; return the audit.

    `scorer` is the model that a builder which weighs steps has them measured by. `model` is the folder or name of the
    model that wrote the recordings, where that has moved: it is asked for its tokenizer alone, and only if the builder
    puts in text that the recording does not have in tokens.

    Raises:
        Unfit: the builder reads what the recordings do not hold.
        BadInput: no chain is right, too few rows are left, or the tokenizer is another one or cannot write a text.
        CannotWrite: the output folder cannot be written. Nothing is there then.
    """
    traces = read_traces(plan.recordings)
    known = provided(traces) | ({ABSENCE.name} if scorer is not None else set())
    require(plan.builder, "the recording", known, host="data")
    if not any(trace.right for trace in traces):
        raise BadInput(
            f"run: none of {len(traces)} chains is right, so there is nothing to learn from. Record easier problems, "
            "or more chains per problem."
        )
    if scorer is not None:
        traces = _measured(plan, traces, scorer)
    made = plan.builder(traces)
    what = "pairs" if plan.builder.makes == "pairs" else "rows"
    if len(made) < plan.least:
        raise BadInput(
            f"how: {canonical(plan.builder)} leaves {len(made)} {what} of {len(traces)} chains, fewer than "
            f"{plan.least} (--least). Record more problems or chains, or choose another builder."
        )
    writer = _Writer(plan.recordings[0], model)
    encode = writer.encode_all(texts_of(made))
    plain = FirstCorrect()(traces) if LOOKS.name in known else []
    tasks = plan.evaluated or tuple(plan.recordings[0].config["tasks"])
    found = audit(traces, made, plain, writer.encode_all(texts_of([*made, *plain])), questions(tasks))
    name, weights = model_of(plan.recordings)
    header = {
        "made_by": f"satisfice {satisfice.__version__}", "how": canonical(plan.builder),
        "builder": as_json(plan.builder), "makes": what, "constant": plan.builder.constant, "n": len(made),
        "model": name, "weights": weights,
        "recordings": [{"config": one.config, "chains": len(one)} for one in plan.recordings],
        "evaluated": list(tasks),
    }  # fmt: skip
    told = {name: header[name] for name in ("how", "model", "constant", "evaluated")}
    header["sample"] = writer.sample(made)
    found = {**told, **found, "warnings": warnings(found)}
    page = audit_page(header, found, shown(made))
    write_data(plan.out, header, lines(made, encode, writer.text, writer.render), found, page)
    return found


def _measured(plan: ShortenPlan, traces: list[Trace], scorer: str) -> list[Trace]:
    from satisfice.training.absence import Measuring, with_absence  # loads torch

    if not isinstance(plan.builder, Measuring):
        raise BadInput(f"scorer: {plan.builder.card.id} measures nothing. Leave --scorer out, or take pir.")
    _Writer(plan.recordings[0], scorer).words  # noqa: B018  (refuses another tokenizer)
    return with_absence(traces, plan.builder, model_folder(scorer))


def questions(tasks: Iterable[str]) -> set[str]:
    """Return the questions that models are compared on: those of the evaluation split of some tasks."""
    return {problem.question for task in load_tasks(tasks) for problem in task.problems}


class _Writer:
    """Text to tokens and back, by what is in a recording, or by the model's tokenizer where that is not enough."""

    def __init__(self, recording: Recording, model: str | None) -> None:
        self._recording, self._model = recording, model
        self._words: TokenizerWords | None = None

    def encode_all(self, texts: Iterable[str]) -> Encode:
        """Return a function that encodes these texts; what cannot be written is told at once."""
        table: dict[str, Sequence[int]] = {}
        for text in sorted(texts):
            own = self._recording.encodings.get(text)
            table[text] = own if own is not None else self._checked(text)
        return table.__getitem__

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        missing = [i for i in ids if i not in self._recording.pieces]
        return self.words.decode(list(ids)) if missing else self._recording.decode(ids)

    def sample(self, made: Sequence[Row] | Sequence[Pair]) -> dict[str, Any]:
        """Return some tokens of the data with their text, by which another tokenizer is known when it is trained."""
        ids = sorted({i for row in rows_of(made) for part in row.parts for i in part.ids or ()})
        return {"ids": ids, "texts": [self._recording.decode([i]) for i in ids]}

    def render(self, question: str) -> Sequence[int]:
        """Return a question as the model's prompt in tokens."""
        return self.words.encode(self.words.render(question, self._recording.profile))

    def _checked(self, text: str) -> list[int]:
        ids = self.words.encode(text)
        if self.words.decode(ids) != text:
            raise BadInput(
                f"how: this builder writes {text!r}, which the model's tokenizer cannot ({self.words.decode(ids)!r} "
                "comes back). Give it other words under `rules` in the model's profile.json."
            )
        return ids

    @property
    def words(self) -> TokenizerWords:
        """The model's tokenizer, checked against the recording."""
        if self._words is None:
            name = self._model or str(self._recording.config["model"])
            if "://" in name or name.startswith("vllm:"):
                raise BadInput(
                    f"model: the recording is from {name}, and the builder writes text of its own, which takes the "
                    "model's tokenizer. Give its folder with --model."
                )
            words = TokenizerWords(model_folder(name))
            other = [i for i, piece in self._recording.pieces.items() if words.piece(i) != piece]
            if other:
                raise BadInput(
                    f"model: {name} has another tokenizer than the model that was recorded: token {other[0]} is "
                    f"{words.piece(other[0])!r} there and {self._recording.pieces[other[0]]!r} here."
                )
            self._words = words
        return self._words
