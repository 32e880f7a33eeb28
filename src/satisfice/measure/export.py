"""Write a run in the forms that other tools read: lm-evaluation-harness's sample files, and Inspect's logs.

Both know a model and a task; policies and samplers are further things. For lm-eval, a model under a policy is a model
of its own, with a folder of its own; for Inspect the policy is the solver, and each task and subject has a log. What
neither has a place for (what was spent on looking, what was dropped) stands in a field `satisfice` or in the metadata.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from satisfice.core.errors import BadInput, CannotWrite, UnknownName
from satisfice.measure.merge import read_runs
from satisfice.measure.store import read_samples
from satisfice.measure.subject import Subject, subject_of

Results = Mapping[str, Any]
Sample = Mapping[str, Any]
Cell = tuple[str, Subject]  # task, and what was measured on it

FILTERS = {"strict-match": ("answer", "verdict"), "flexible-extract": ("answer_flexible", "verdict_flexible")}
INVALID = "[invalid]"  # what lm-eval's filters say where they find no answer
LEDGER = (
    "kept",
    "probe",
    "dropped",
    "spent",
    "injected",
    "prefilled",
    "steps",
    "thinking_tokens",
    "stop_reason",
    "seed",
)


def export(run: Path, out: Path, form: str) -> list[Path]:
    """Write a run's samples and results in another tool's form; the files that were written.

    Raises:
        BadInput: there is no run, it has no samples, or `out` is not an empty folder.
        UnknownName: no such form.
        CannotWrite: there is no room.
    """
    if form not in FORMS:
        raise UnknownName("form", form, FORMS)
    results = read_runs([run])
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"out: {out} is there already. Give a new folder.")
    if not results["rows"]:
        raise BadInput(f"{run} has no results yet. Let the run finish first.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        return FORMS[form](run, results, out)
    except OSError as error:
        raise CannotWrite(f"{out}: {error.strerror}. Give a folder that can be written, with room.") from error


def to_lm_eval(run: Path, results: Results, out: Path) -> list[Path]:
    """Write a folder for each subject, with `samples_TASK_DATE.jsonl` and `results_DATE.json` as lm-eval writes them.

    A sample has two rows, one for each way of reading the answer, as tasks with two filters have. Where a verdict is
    unknown, or the sample failed, `exact_match` is null.
    """
    date = _date(results).replace(":", "-")
    rows = {(row["task"], subject_of(row)): row for row in results["rows"]}
    subjects = list(dict.fromkeys(subject for _, subject in rows))
    folders = dict(zip(subjects, _names(list(map(_name, subjects))), strict=True))
    tasks = dict(zip(results["config"]["tasks"], _names(results["config"]["tasks"]), strict=True))
    written = []
    with ExitStack() as stack:
        files: dict[Cell, TextIO] = {}
        for task, subject in rows:
            path = out / folders[subject] / f"samples_{tasks[task]}_{date}.jsonl"
            path.parent.mkdir(exist_ok=True)
            files[task, subject] = stack.enter_context(path.open("w", encoding="utf-8"))
            written.append(path)
        for sample in read_samples(run):
            for row in lm_eval_rows(sample, results):
                files[sample["task"], subject_of(sample)].write(json.dumps(row, ensure_ascii=False) + "\n")
    for subject, folder in folders.items():
        path = out / folder / f"results_{date}.json"
        mine = {task: rows[task, subject] for task in tasks if (task, subject) in rows}
        path.write_text(json.dumps(_lm_eval_results(mine, subject, results), indent=2) + "\n", "utf-8")
        written.append(path)
    return written


def lm_eval_rows(sample: Sample, results: Results) -> Iterator[dict[str, Any]]:
    """Yield the rows of one sample, one for each way of reading its answer."""
    doc = {name: sample[of] for name, of in {"id": "problem", "question": "question", "answer": "gold"}.items()}
    asked = {"until": [], "max_gen_toks": results["config"]["max_tokens"], "seed": sample["seed"]}
    for name, (answer, verdict) in FILTERS.items():
        yield {
            "doc_id": doc_id(sample), "doc": doc, "target": str(sample["gold"]),
            "arguments": {"gen_args_0": {"arg_0": sample["question"], "arg_1": asked}},
            "resps": [["".join(span["text"] for span in sample["spans"])]],
            "filtered_resps": [INVALID if sample[answer] is None else sample[answer]], "filter": name,
            "metrics": ["exact_match"], "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
            "prompt_hash": _hash(sample["question"]), "target_hash": _hash(str(sample["gold"])),
            "exact_match": _score(sample[verdict]), "satisfice": {name: sample[name] for name in LEDGER},
        }  # fmt: skip


def _name(subject: Subject) -> str:
    """Return a model under a policy, and a sampler where it is not the model's own, as the name of a file."""
    return "__".join([subject.model, subject.policy, *([subject.sampler] if subject.sampler else [])])


def _lm_eval_results(rows: Mapping[str, Mapping[str, Any]], subject: Subject, results: Results) -> dict[str, Any]:
    config, environment = results["config"], results["environment"]
    counts = ("kept", "spent", "probe", "dropped", "thinking_tokens")
    return {
        "results": {
            task: {
                "alias": task, "exact_match,strict-match": row["accuracy"],
                "exact_match,flexible-extract": row["accuracy_flexible"],
                "exact_match_low,strict-match": row["accuracy_low"],
                "exact_match_high,strict-match": row["accuracy_high"],
                **{f"{name},none": row[name] for name in counts},
            }
            for task, row in rows.items()
        },
        "configs": {
            task: {
                "task": task, "output_type": "generate_until", "test_split": config["split"], "num_fewshot": 0,
                "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
                "repeats": 1,
            }
            for task in rows
        },
        "versions": {task: _version(task) for task in rows}, "n-shot": dict.fromkeys(rows, 0),
        "higher_is_better": {task: {"exact_match": True} for task in rows},
        "n-samples": {
            task: {"original": row["samples"], "effective": row["samples"] - row["errors"]}
            for task, row in rows.items()
        },
        "config": {
            "model": "satisfice", "model_args": {name: value for name, value in subject.as_row().items() if value},
            "limit": config["limit"],
            "gen_kwargs": {"temperature": config["temperature"], "max_gen_toks": config["max_tokens"]},
        },
        "model_name": f"{subject.model} under {subject.policy}", "date": _date(results), "satisfice": environment,
    }  # fmt: skip


def to_inspect(run: Path, results: Results, out: Path) -> list[Path]:
    """A log in JSON for each task and subject, which `inspect view` and `read_eval_log` open; seeds are epochs."""
    rows = {(row["task"], subject_of(row)): row for row in results["rows"]}
    several = len(results["config"]["models"]) * len(results["config"]["samplers"]) > 1
    names = _names([f"{task}_{_name(subject) if several else subject.policy}" for task, subject in rows])
    paths = {cell: out / f"{name}.json" for cell, name in zip(rows, names, strict=True)}
    epochs = {seed: epoch for epoch, seed in enumerate(results["config"]["seeds"], 1)}
    with ExitStack() as stack:
        files: dict[Cell, TextIO] = {}
        for cell, path in paths.items():
            files[cell] = stack.enter_context(path.open("w", encoding="utf-8"))
            head = json.dumps(_inspect_head(*cell, rows[cell], results), ensure_ascii=False)
            files[cell].write(head[:-1] + ',"samples":[')
        begun = set()
        for sample in read_samples(run):
            cell = (sample["task"], subject_of(sample))
            files[cell].write("\n," if cell in begun else "\n")
            files[cell].write(json.dumps(inspect_sample(sample, epochs[sample["seed"]]), ensure_ascii=False))
            begun.add(cell)
        for file in files.values():
            file.write("]}\n")
    return list(paths.values())


def inspect_sample(sample: Sample, epoch: int) -> dict[str, Any]:
    """Return one sample of a log. An unknown verdict is no score."""
    model = _model(sample)
    spent, thought = sample["spent"], sample["thinking_tokens"]
    usage = {"output_tokens": spent, "total_tokens": spent, "reasoning_tokens": thought}
    whole = "".join(span["text"] for span in sample["spans"])
    thinking = whole[: whole.rfind(sample["text"])] if sample["text"] else whole
    said = {
        "role": "assistant", "source": "generate", "model": model,
        "content": [{"type": "reasoning", "reasoning": thinking}, {"type": "text", "text": sample["text"]}],
    }  # fmt: skip
    failed = {"message": sample["error"], "traceback": "", "traceback_ansi": ""}
    return {
        "id": sample["problem"], "epoch": epoch, "input": sample["question"], "target": str(sample["gold"]),
        "messages": [{"role": "user", "source": "input", "content": sample["question"]}, said],
        "output": {
            "model": model, "usage": usage, "time": sample["wall_s"],
            "choices": [{"message": said, "stop_reason": "max_tokens" if sample["truncated"] else "stop"}],
        },
        "scores": {
            name: {"value": "C" if score else "I", "answer": sample[answer]}
            for name, (answer, verdict) in FILTERS.items()
            if (score := _score(sample[verdict])) is not None
        },
        "metadata": {name: sample[name] for name in LEDGER}, "model_usage": {model: usage},
        "total_time": sample["wall_s"], **({"error": failed} if sample["error"] else {}),
    }  # fmt: skip


def _inspect_head(task: str, subject: Subject, row: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Everything of a log but its samples."""
    config, environment = results["config"], results["environment"]
    whole = row["samples"] == config["problems"][task]["n"] * len(config["seeds"])
    status = "error" if row["errors"] else "success" if whole else "started"
    ident = _hash(json.dumps([config, task, subject.as_row()], sort_keys=True))[:22]
    model = _model(row)
    accuracy = {"strict-match": row["accuracy"], "flexible-extract": row["accuracy_flexible"]}
    spent = (row["spent"] or 0) * (row["samples"] - row["errors"])
    return {
        "version": 2, "status": status,
        "eval": {
            "eval_id": ident, "run_id": _hash(json.dumps(config, sort_keys=True))[:22], "created": _date(results),
            "task": task, "task_id": _hash(task)[:22], "task_version": _version(task), "solver": subject.policy,
            "dataset": {"name": task, "samples": config["problems"][task]["n"]}, "model": model,
            "model_generate_config": {"temperature": config["temperature"], "max_tokens": config["max_tokens"]},
            "config": {"limit": config["limit"], "epochs": len(config["seeds"]), "epochs_reducer": ["mean"]},
            "packages": {"satisfice": environment["satisfice"]},
            "metadata": {"config": config, "environment": environment, "row": row},
        },
        "plan": {"name": "satisfice", "steps": [{"solver": subject.policy, "params": {}}]},
        "results": {
            "total_samples": row["samples"], "completed_samples": row["samples"] - row["errors"],
            "scores": [
                {
                    "name": name, "scorer": name, "reducer": "mean",
                    "metrics": {"accuracy": {"name": "accuracy", "value": value}} if value is not None else {},
                }
                for name, value in accuracy.items()
            ],
        },
        "stats": {
            "started_at": _date(results), "completed_at": _date(results),
            "model_usage": {model: {"output_tokens": round(spent), "total_tokens": round(spent)}},
        },
    }  # fmt: skip


FORMS: Mapping[str, Callable[[Path, Results, Path], list[Path]]] = {"inspect": to_inspect, "lm-eval": to_lm_eval}


def doc_id(sample: Sample) -> int:
    """Return the number of a problem: of its id and question alone, so that two runs give the same problem the same.

    A whole number below 2^53, which every reader of JSON holds exactly.
    """
    return int(_hash(f"{sample['problem']}\x1f{sample['question_digest']}")[:13], 16)


def _names(texts: list[str], prefix: str = "") -> list[str]:
    """Return a file name for each text, all different.

    >>> _names(["deer(threshold=0.9)", "deer(threshold=0,9)", "chain-sum:hard@1"], prefix="my model/")
    ['my_model_deer_threshold=0.9', 'my_model_deer_threshold=0_9', 'my_model_chain-sum_hard_1']
    >>> _names(["a(b)", "a[b]"])
    ['a_b', 'a_b-2']
    """
    names: list[str] = []
    for text in texts:
        name = re.sub(r"[^\w.=-]+", "_", prefix + text).strip("_.")[:150]
        same = sum(other == name or re.fullmatch(rf"{re.escape(name)}-\d+", other) is not None for other in names)
        names.append(name if not same else f"{name}-{same + 1}")
    return names


def _model(row: Mapping[str, Any]) -> str:
    return f"satisfice/{row['model']}"


def _date(results: Results) -> str:
    return str(results["environment"].get("date") or "1970-01-01T00:00:00+00:00")


def _version(task: str) -> str:
    """Return the version that a task's name ends in."""
    return task.rpartition("@")[2] if "@" in task else "0"


def _score(verdict: str) -> float | None:
    return {"right": 1.0, "wrong": 0.0}.get(verdict)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
