"""The reader of single chains: which chains it shows, and what stands where in each of them."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from satisfice.measure.subject import Subject, subject_of
from satisfice.report.samples import FULL, Outcome, ProblemKey

PROBLEMS_PER_TASK = 60
TEXT_BUDGET = 4_000_000  # characters of JSON for all chains together, so that the file stays small enough to mail

Piece = dict[str, Any]


def choose(outcomes: Sequence[Outcome], task: str, subjects: Sequence[Subject], limit: int) -> list[ProblemKey]:
    """Up to `limit` problems of a task worth reading, the most telling first; the same input gives the same choice.

    Every subject takes turns with one problem of each kind: lost or won against its model's `full`, most saved, most
    wasted, no answer, truncated, failed, unknown, and plain right and wrong ones.
    """
    here = sorted((one for one in outcomes if one.task == task), key=lambda one: _shuffle(one.key))
    full = {one.full: one for one in here if one.subject.policy == FULL}
    queues: list[list[ProblemKey]] = []
    for kind in _KINDS:
        for subject in subjects:
            pairs = [(one, full.get(one.full, one)) for one in here if one.subject == subject]
            queues.append([one.key for one, base in kind(pairs)])
    chosen: dict[ProblemKey, None] = {}
    while len(chosen) < limit and any(queues):
        for queue in queues:
            while queue and queue[0] in chosen:
                queue.pop(0)
            if queue and len(chosen) < limit:
                chosen[queue.pop(0)] = None
    return list(chosen)


Pairs = list[tuple[Outcome, Outcome]]


def _where(holds: Callable[[Outcome, Outcome], bool]) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [pair for pair in pairs if holds(*pair)]


def _by_saving(sign: int) -> Callable[[Pairs], Pairs]:
    def pick(pairs: Pairs) -> Pairs:
        differ = [pair for pair in pairs if sign * (pair[1].spent - pair[0].spent) > 0]
        return sorted(differ, key=lambda pair: sign * (pair[0].spent - pair[1].spent))

    return pick


_KINDS: tuple[Callable[[Pairs], Pairs], ...] = (
    _where(lambda one, full: one.verdict == "wrong" and full.verdict == "right"),
    _where(lambda one, full: one.verdict == "right" and full.verdict == "wrong"),
    _by_saving(1),
    _by_saving(-1),
    _where(lambda one, full: one.failed),
    _where(lambda one, full: not one.answered and not one.failed),
    _where(lambda one, full: one.verdict == "unknown"),
    _where(lambda one, full: one.truncated),
    _where(lambda one, full: one.verdict == "wrong" and full.verdict == "wrong"),
    _where(lambda one, full: one.verdict == "right"),
)


def _shuffle(key: ProblemKey) -> str:
    return hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()


def pack(
    samples: Iterable[Mapping[str, Any]],
    wanted: Mapping[str, Sequence[ProblemKey]],
    names: Mapping[Subject, str],
    budget: int = TEXT_BUDGET,
) -> dict[str, Any]:
    """Return the reader's data: for each wanted problem its question and the chain of every subject, under its name.

    `wanted` maps a task to its problems, the most telling first; when the text of all chains is longer than `budget`
    characters, the last ones are left out, evenly over tasks.
    """
    keys = {key for chosen in wanted.values() for key in chosen}
    problems: dict[ProblemKey, dict[str, Any]] = {}
    sizes: dict[ProblemKey, int] = {}
    for sample in samples:
        key = (sample["task"], sample["problem"], sample["seed"])
        if key not in keys or subject_of(sample) not in names:
            continue
        about = {"task": key[0], "id": key[1], "seed": key[2], "question": sample["question"], "gold": sample["gold"]}
        run = read_run(sample)
        problems.setdefault(key, about | {"runs": {}})["runs"][names[subject_of(sample)]] = run
        sizes[key] = sizes.get(key, 0) + len(json.dumps(run))
    kept: list[ProblemKey] = []
    for rank in range(max((len(chosen) for chosen in wanted.values()), default=0)):
        for chosen in wanted.values():
            if rank < len(chosen) and chosen[rank] in problems:
                budget -= sizes[chosen[rank]]
                if budget >= 0 or rank == 0:
                    kept.append(chosen[rank])
    return {
        "subjects": list(names.values()), "tasks": list(wanted), "problems": [problems[key] for key in sorted(kept)],
        "full": {name: names.get(subject.under(FULL)) for subject, name in names.items()},
    }  # fmt: skip


def read_run(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return one sample as the reader shows it: verdict, answer, ledger, and the chain as pieces in reading order."""
    numbers = ("kept", "probe", "dropped", "spent", "injected", "prefilled", "steps", "thinking_tokens", "first_right")
    return {
        "verdict": sample["verdict"],
        "answer": sample["answer"],
        "flexible": sample["answer_flexible"],
        "ended": sample["stop_reason"],
        "error": sample["error"],
        "truncated": sample["truncated"],
        **{name: sample[name] for name in numbers},
        "pieces": lay_out(sample),
        "others": list(_others(sample)),
    }


def lay_out(sample: Mapping[str, Any]) -> list[Piece]:
    """The returned chain in reading order: `text` pieces (sampled or injected) with `look` and `first` marks between.

    A look carries what the rule measured, its threshold and verdict, and what the model was asked and said on the fork
    that looked. A mark stands at the token where it happened; inside a span that is the nearest sensible place.
    """
    path = _path(sample["chain"])
    marks = sorted(_looks(sample, path), key=lambda mark: mark["at"])
    if sample["first_right"] is not None:
        first = {"kind": "first", "at": sample["first_right"]}
        marks = sorted([first, *marks], key=lambda mark: mark["at"])
    held = {
        event["at"]: event["data"].get("match", "")
        for event in sample["log"]
        if event["kind"] == "pause" and event["chain"] in path
    }
    pieces: list[Piece] = []
    begin = 0
    for span in sample["spans"]:
        end, shown = begin + span["tokens"], 0
        # A mark on the border belongs before what follows, so it is laid out with the next span.
        while marks and marks[0]["at"] < end:
            mark = marks.pop(0)
            place = _place(span, mark, begin, held, sample)
            _add_text(pieces, span, shown, max(place, shown))
            pieces.append({name: value for name, value in mark.items() if name != "at"})
            shown = max(place, shown)
        _add_text(pieces, span, shown, len(span["text"]))
        begin = end
    pieces += [{name: value for name, value in mark.items() if name != "at"} for mark in marks]
    return pieces


def _add_text(pieces: list[Piece], span: Mapping[str, Any], begin: int, end: int) -> None:
    if begin == end:
        return
    text = span["text"][begin:end]
    if pieces and pieces[-1]["kind"] == span["kind"] == "sampled":
        pieces[-1]["text"] += text
    else:
        pieces.append({"kind": span["kind"], "text": text})


def _place(span: Mapping[str, Any], mark: Piece, begin: int, held: Mapping[int, str], sample: Mapping[str, Any]) -> int:
    """Character of a span at which a token position lies.

    The record counts tokens, not characters. At a pause the text is known to stand just before the cue; a first right
    answer ends where that answer is written as a word of its own inside the thinking, of such places the nearest.
    """
    text: str = span["text"]
    offset = mark["at"] - begin
    if offset <= 0:
        return 0
    about = _estimate(text, offset / max(span["tokens"], 1))
    if mark["kind"] == "look" and held.get(mark["at"]):
        found = text.rfind(held[mark["at"]])
        return found if found >= 0 else about
    if mark["kind"] == "first" and sample["gold"]:
        closes = begin + span["tokens"] > sample["thinking_tokens"] and sample["text"] in text
        thought = text[: text.rindex(sample["text"])] if closes else text
        ends = [found.end() for found in re.finditer(rf"(?<!\w){re.escape(sample['gold'])}(?!\w)", thought)]
        return min(ends, key=lambda end: abs(end - about), default=about)
    return about


def _estimate(text: str, share: float) -> int:
    """Where `share` of the tokens of a text end, taking words, digits and signs for tokens as most tokenizers do."""
    ends = [found.end() for found in re.finditer(r"<[^<>\s]+>| ?[^\W\d]+|\d| ?[^\w\s]|\s", text)]
    return ends[min(len(ends) - 1, max(0, round(share * len(ends)) - 1))] if ends else 0


def _path(chain: str) -> set[str]:
    """Return a chain and the chains it was forked from: `0.2.1` -> `0`, `0.2`, `0.2.1`."""
    parts = chain.split(".") if chain else []
    return {".".join(parts[: n + 1]) for n in range(len(parts))}


def _looks(sample: Mapping[str, Any], path: set[str]) -> Iterator[Piece]:
    """What was seen along the returned chain: one piece for each fork that looked and for each look without a fork."""
    open_probe: dict[str, Piece] = {}  # by name of the parent: the latest fork that looked
    probes: dict[str, Piece] = {}
    for event in sample["log"]:
        chain, data = event["chain"], event["data"]
        parent = chain.rpartition(".")[0]
        if event["kind"] == "fork" and data.get("looks") and parent in path and chain not in path:
            probe: Piece = {"kind": "look", "at": event["at"], "asked": "", "tokens": 0}
            probes[chain] = open_probe[parent] = probe
            yield probe  # filled in by the events that follow; the caller reads it after the last of them
        elif event["kind"] == "inject" and chain in probes:
            probes[chain]["asked"] += data.get("text", "")
        elif event["kind"] == "pause" and chain in probes:
            probes[chain]["tokens"] += data.get("tokens", 0)
        elif event["kind"] == "look":
            seen = _seen(data)
            target = probes.get(chain) or open_probe.get(chain)
            if target is not None and "measure" not in target and (chain in probes or target["at"] == event["at"]):
                target.update(seen)
            elif chain in path:
                yield {"kind": "look", "at": event["at"], "asked": "", "tokens": 0, **seen}


def _seen(data: Mapping[str, Any]) -> Piece:
    threshold = data.get("threshold")
    return {
        "measure": str(data.get("measure", "")),
        "value": _short(data.get("value")),
        "threshold": None if threshold is None else _short(threshold),
        "stop": bool(data.get("stop")),
        "said": str(data.get("text", "")),
    }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _others(sample: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Chains that were sampled but are not on the way to the answer: their tokens, and how they ended."""
    path = _path(sample["chain"])
    found: dict[str, dict[str, Any]] = {}
    for event in sample["log"]:
        name, data = event["chain"], event["data"]
        if name in path or (event["kind"] == "fork" and data.get("looks")):
            continue
        if event["kind"] in ("chain", "fork"):
            found[name] = {"chain": name, "tokens": 0, "ended": ""}
        elif name in found and event["kind"] == "pause":
            found[name]["tokens"] += data.get("tokens", 0)
        elif name in found and event["kind"] in ("end", "drop"):
            found[name]["ended"] = found[name]["ended"] or (data.get("ended", "") if event["kind"] == "end" else "drop")
    yield from found.values()
