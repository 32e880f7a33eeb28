"""Read one run, or the parts of a divided one, as one: everything computed from the samples, whatever stood there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput
from satisfice.core.files import changes
from satisfice.measure.plan import part_of
from satisfice.measure.samples import SCHEMA_VERSION, SampleKey, key_of, numbers_of
from satisfice.measure.statistics import result_rows
from satisfice.measure.store import RESULTS, SAMPLES, RunFolder, read_results, read_samples
from satisfice.measure.subject import subject_of, subjects_in


def read_runs(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the results of one run, or of several folders together, its rows made from their samples.

    Several folders are the shards of one run, or runs of different models, policies or samplers on the same problems
    with the same settings. The first folder's baseline is that of all. The rows of all shards together are those of
    the run undivided.

    Raises:
        BadInput: a folder holds no run or a changed one, the folders differ in what must be the same, or two hold the
            same sample.
    """
    runs = [read_results(path) for path in paths]
    config = _one_config(paths, [run["config"] for run in runs])
    found: dict[SampleKey, Path] = {}
    samples = []
    for path in paths:
        for row in read_samples(path):
            for name, known in (("task", "tasks"), ("policy", "policies"), ("seed", "seeds"), ("model", "models"),
                                ("sampler", "samplers")):  # fmt: skip
                if row[name] not in config[known]:
                    raise BadInput(
                        f"{path / SAMPLES} has samples of {name} {row[name]!r}, which {RESULTS} lacks. The files were "
                        "changed: put them back, or run the same command into a new folder."
                    )
            if found.setdefault(key_of(row), path) != path:
                raise BadInput(
                    f"{path} and {found[key_of(row)]} both hold {row['problem']!r} of {row['task']} under "
                    f"{row['policy']} with seed {row['seed']}. Give each part of a run once."
                )
            samples.append(numbers_of(row))
    rows = result_rows(
        samples, subjects=subjects_in(config), tasks=config["tasks"], margin=config["margin"],
        always=config.get("until_decided", False),
    )  # fmt: skip
    environment = {**runs[0]["environment"], "samples": len(samples)}
    return {"schema_version": SCHEMA_VERSION, "config": config, "environment": environment, "rows": rows}


def samples_of(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the samples of all folders, one folder after the other."""
    for path in paths:
        yield from read_samples(path)


def write_merged(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write several folders as one run to a new folder and return its results: as if it had not been divided.

    Raises:
        BadInput: as `read_runs`; or `out` holds something else.
    """
    merged = read_runs(paths)
    known = subjects_in(merged["config"])
    with RunFolder(out, merged["config"]) as folder:
        there = {key_of(row) for row in folder.samples()}
        for path in paths:
            fresh = (row for row in read_samples(path) if key_of(row) not in there and subject_of(row) in known)
            while batch := [row for row, _ in zip(fresh, range(1000), strict=False)]:
                folder.append(batch)
        return folder.write_results(merged["environment"], merged["rows"])


_UNION = ("models", "policies", "samplers")


def _one_config(paths: Sequence[Path], configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = configs[0]
    apart = (*_UNION, "weights", "baseline", "shard")
    for path, other in zip(paths, configs, strict=True):
        same = [{name: value for name, value in one.items() if name not in apart} for one in (first, other)]
        if changed := changes(*same):
            raise BadInput(
                f"{paths[0]} and {path} are no parts of one run: {'; '.join(changed)}. "
                "Give the folders of one command that differ in --shard, --model, --policies or --sampler only."
            )
        for model, weights in (other["weights"] or {}).items():
            if model in (first["weights"] or {}) and first["weights"][model] != weights:
                raise BadInput(f"{paths[0]} and {path} have different weights under the name {model!r}: two models.")
    union = {name: list(dict.fromkeys(one for config in configs for one in config[name])) for name in _UNION}
    weights = {model: value for config in reversed(configs) for model, value in (config["weights"] or {}).items()}
    weights = {model: weights.get(model) for model in union["models"]}
    return {**first, **union, "weights": weights, "shard": _shards(configs)}


def _shards(configs: Sequence[dict[str, Any]]) -> str | None:
    """None when the parts make a whole; else which of them are there."""
    told = {config["shard"] for config in configs if config["shard"] is not None}
    if not told or len(told) < len({config["shard"] for config in configs}):
        return None
    parts = sorted(part_of(shard) for shard in told)
    if len(parts) == parts[0][1]:
        return None
    return f"{', '.join(str(part + 1) for part, _ in parts)}/{parts[0][1]}"
