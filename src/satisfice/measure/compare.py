"""Set two runs side by side: the same policies on the same questions, the second against the first."""

from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput
from satisfice.core.files import changes
from satisfice.measure.samples import SCHEMA_VERSION, numbers_of
from satisfice.measure.statistics import MARGIN, Sample, paired, summary
from satisfice.measure.store import read_results, read_samples
from satisfice.measure.subject import Subject, subject_of

Question = tuple[str, int]
"""A question's digest, and which of the problems that ask it: the first by id, the second ..."""

Cells = dict[tuple[str, Subject], dict[tuple[Question, int], Sample]]
"""By task and subject: the samples by question and seed."""


def compare_runs(first: Path, second: Path, *, margin: float = MARGIN) -> dict[str, Any]:
    """Return rows for each task and subject that both runs have, on the questions and seeds that both have.

    Runs of one model each are compared whatever the models are called, and so with samplers: before and after a
    training, for instance. Runs of several are compared by name.

    `delta_accuracy` and `saving` are of the second run against the first, with the verdicts of `statistics.verdict`.
    Everything is computed from the samples. `notes` say what differs between the runs: settings, seeds, questions.

    Raises:
        BadInput: a folder holds no run or a changed one, or the two have nothing in common.
    """
    runs = {"first": read_results(first), "second": read_results(second)}
    before, after = _cells(first), _cells(second)
    alone = {
        name: all(len(run["config"][name]) == 1 for run in runs.values()) for name in ("models", "samplers")
    }  # fmt: skip

    def partner(subject: Subject) -> Subject:
        other = runs["second"]["config"]
        model = other["models"][0] if alone["models"] else subject.model
        return Subject(model, subject.policy, other["samplers"][0] if alone["samplers"] else subject.sampler)

    rows = []
    for (task, subject), theirs in before.items():
        ours = after.get((task, partner(subject)), {})
        keys = ours.keys() & theirs.keys()
        if not keys:
            continue
        a, b = {key: theirs[key] for key in keys}, {key: ours[key] for key in keys}
        was, now = summary(a), summary(b)
        fields = ("accuracy", "spent", "kept", "wall_s", "no_answer_rate", "errors", "first_error")
        rows.append(
            {
                "task": task, **subject.as_row(), "n": now["n"],
                **{f"{name}_first": was[name] for name in fields},
                **{f"{name}_second": now[name] for name in fields},
                **paired(b, a, margin=margin),
            }
        )  # fmt: skip
    notes = _notes(runs["first"]["config"], runs["second"]["config"], before, after)
    if not rows:
        raise BadInput(
            f"{first} and {second} have no question in common under the same policy and seed: "
            f"{_scope(runs['first'])} against {_scope(runs['second'])}. {''.join(f'{note} ' for note in notes)}"
            "Compare runs of the same tasks, split, seeds and policies."
        )
    paths = {"first": first, "second": second}
    configs = {name: {"path": str(paths[name]), "config": run["config"]} for name, run in runs.items()}
    return {"schema_version": SCHEMA_VERSION, **configs, "notes": notes, "rows": rows}


def _cells(path: Path) -> Cells:
    samples = [numbers_of(row) for row in read_samples(path)]
    asked: dict[tuple[str, str], set[str]] = {}
    for row in samples:
        asked.setdefault((row["task"], row["question_digest"]), set()).add(row["problem"])
    rank = {(*key, problem): place for key, ids in asked.items() for place, problem in enumerate(sorted(ids))}
    cells: Cells = {}
    for row in samples:
        digest = row["question_digest"]
        question = (digest, rank[row["task"], digest, row["problem"]])
        cells.setdefault((row["task"], subject_of(row)), {})[question, row["seed"]] = row
    return cells


def _notes(first: dict[str, Any], second: dict[str, Any], before: Cells, after: Cells) -> list[str]:
    """Return what a reader must know before believing the rows."""
    notes = []
    seeds = [{seed for cell in cells.values() for _, seed in cell} for cells in (before, after)]
    if seeds[0] != seeds[1]:
        names = [", ".join(map(str, sorted(some))) for some in (seeds[0], seeds[1], seeds[0] & seeds[1])]
        notes.append(
            f"The seeds differ: {names[0] or 'none'} in the first run, {names[1] or 'none'} in the second; "
            f"compared: {names[2] or 'none'}."
        )
    for task in sorted({task for task, _ in before} & {task for task, _ in after}):
        asked = [_questions(cells, task) for cells in (before, after)]
        changed = [one for one in asked[0].keys() & asked[1].keys() if asked[0][one] != asked[1][one]]
        if changed:
            notes.append(
                f"{task}: {len(changed)} problems have the same id and another question (such as {min(changed)!r}); "
                "problems are paired by their questions."
            )
        only = [len(set(asked[i].values()) - set(asked[1 - i].values())) for i in (0, 1)]
        if any(only):
            notes.append(f"{task}: {only[0]} questions are in the first run only, {only[1]} in the second only.")
    apart = ("tasks", "problems", "policies", "limit", "seeds", "margin", "split", "baseline", "shard")
    settings = [{name: value for name, value in config.items() if name not in apart} for config in (first, second)]
    differ = [change.replace(" there, ", " in the first run, ").replace(" asked", " in the second")
              for change in changes(*settings)]  # fmt: skip
    if differ:
        notes.append(f"The settings differ: {'; '.join(differ)}.")
    return notes


def _questions(cells: Cells, task: str) -> dict[str, str]:
    """Return the digest of each problem's question, by the problem's id."""
    return {
        row["problem"]: row["question_digest"] for (of, _), cell in cells.items() if of == task for row in cell.values()
    }


def _scope(results: dict[str, Any]) -> str:
    config = results["config"]
    models, tasks, policies = (", ".join(config[name]) for name in ("models", "tasks", "policies"))
    return f"{models} on {tasks} under {policies} ({config['split']})"
