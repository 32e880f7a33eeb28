"""Merging on disk: what is refused before anything is written, and that mergekit and we write the same weights."""

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from satisfice.catalog import build
from satisfice.cli.main import main
from satisfice.core.errors import BadInput, CannotWrite
from satisfice.core.merge import MERGE
from satisfice.models.resolve import model_folder
from satisfice.training import merging
from satisfice.training.sweep import at_strength, on_frontier, promised, strengths

POCKET = model_folder("pocket")
NEEDS_MERGEKIT = pytest.mark.skipif(find_spec("mergekit") is None, reason="needs the extra `merge`")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models near the pocket reasoner."""
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("models") / f"near-{seed}"
        shutil.copytree(POCKET, folder)
        rng = np.random.default_rng(seed)
        weights = load_file(POCKET / "model.safetensors")
        moved = {
            name: (w.astype(np.float32) + rng.normal(0, 0.01, w.shape)).astype(w.dtype) for name, w in weights.items()
        }
        save_file(moved, folder / "model.safetensors", {"format": "pt"})
        folders.append(folder)
    return folders


def merged(spec: str, folders: list[Path], out: Path) -> dict[str, Any]:
    base, *rest = merging.models(["pocket", *map(str, folders)])
    merging.check(base, rest)
    merging.merge(build(spec, MERGE), base, rest, out)
    return load_file(out / "model.safetensors")


def test_a_merge_is_that_of_its_tensors_and_loads_as_a_model(others: list[Path], tmp_path: Path) -> None:
    from satisfice.engines import load_engine

    found = merged("svd(weight=0.5, rank=0.5)", others, tmp_path / "out")
    base, *rest = (load_file(folder / "model.safetensors") for folder in (POCKET, *others))
    method = build("svd(weight=0.5, rank=0.5)", MERGE)
    assert found.keys() == base.keys()
    for name in list(base)[:4]:
        expected = method(base[name].astype(np.float32), [one[name].astype(np.float32) for one in rest])
        assert found[name].astype(np.float32) == pytest.approx(expected, abs=2e-2)
        assert found[name].dtype == base[name].dtype
    assert load_engine(str(tmp_path / "out")).profile.name == "pocket"
    assert json.loads((tmp_path / "out" / "merge.json").read_text("utf-8"))["merge"] == "svd(weight=0.5, rank=0.5)"
    before = os.stat(tmp_path / "out" / "model.safetensors").st_mtime_ns
    merged("svd(weight=0.5, rank=0.5)", others, tmp_path / "out")  # there already: kept
    assert os.stat(tmp_path / "out" / "model.safetensors").st_mtime_ns == before
    with pytest.raises(BadInput, match="holds something else"):
        merged("svd(weight=0.6)", others, tmp_path / "out")


@NEEDS_MERGEKIT
@pytest.mark.parametrize("spec", ["task-arithmetic", "ties(density=0.5)", "slerp:0.3", "dler-merge"])
def test_mergekit_and_we_agree(others: list[Path], tmp_path: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    some = others if spec[0] == "t" else others[:1]
    theirs = merged(spec, some, tmp_path / "theirs")
    monkeypatch.setattr(merging.importlib.util, "find_spec", lambda name: None)
    ours = merged(spec, some, tmp_path / "ours")
    assert theirs.keys() == ours.keys()
    for name in ours:
        apart = np.abs(theirs[name].astype(np.float32) - ours[name].astype(np.float32))
        assert (apart > 1e-2).mean() < 0.01, name  # equal entries may be trimmed in another order


@NEEDS_MERGEKIT
def test_one_model_under_ties_keeps_its_weight(others: list[Path], tmp_path: Path) -> None:
    """mergekit's own default would divide the weight away."""
    base = load_file(POCKET / "model.safetensors")
    other = load_file(others[0] / "model.safetensors")
    found = merged("ties(weight=0.5, density=1.0)", others[:1], tmp_path / "out")
    name = max(base, key=lambda one: base[one].size)
    start, end, now = (one[name].astype(np.float32) for one in (base, other, found))
    share = float(((now - start) * (end - start)).sum() / ((end - start) ** 2).sum())
    assert share == pytest.approx(0.5, abs=0.02)


def test_what_does_not_fit_is_refused_in_a_sentence(others: list[Path], tmp_path: Path) -> None:
    def refused(*names: str) -> str:
        base, *rest = merging.models(names)
        with pytest.raises(BadInput) as told:
            merging.check(base, rest)
        return str(told.value)

    assert "nothing to merge" in refused("pocket")
    assert "named twice" in refused("pocket", str(POCKET))
    odd = tmp_path / "odd"
    shutil.copytree(others[0], odd)
    config = json.loads((odd / "config.json").read_text("utf-8"))
    (odd / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 1}), "utf-8")
    assert f"has vocab_size {config['vocab_size'] + 1}, and pocket has" in refused("pocket", str(odd))
    (odd / "config.json").write_text(json.dumps(config), "utf-8")
    weights = load_file(odd / "model.safetensors")
    name = min(weights)
    save_file({**weights, name: weights[name][:1].copy()}, odd / "model.safetensors", {"format": "pt"})
    assert f"tensor {name} is" in refused("pocket", str(odd))
    save_file({k: v for k, v in weights.items() if k != name}, odd / "model.safetensors", {"format": "pt"})
    assert "missing in" in refused("pocket", str(odd))
    words = (odd / "tokenizer.json").read_text("utf-8")
    save_file(weights, odd / "model.safetensors", {"format": "pt"})
    (odd / "tokenizer.json").write_text(words.replace("<|end|>", "<|fin|>"), "utf-8")
    assert "another tokenizer than pocket" in refused("pocket", str(odd))


def test_a_full_disk_is_told_before_and_while(
    others: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(merging.shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(CannotWrite, match=r"has room for 0\.00 GB"):
            merged("svd", others, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(merging, "save_file", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(CannotWrite, match="Nothing was left there"):
            merged("svd", others, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_large_models_are_written_in_parts(others: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "SHARD", 200_000)
    base, *rest = merging.models(["pocket", str(others[0])])
    merging.merge(build("svd(rank=1.0, weight=1.0)", MERGE), base, rest, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text("utf-8"))["weight_map"]
    files = {name: load_file(tmp_path / "out" / name) for name in sorted(set(index.values()))}
    assert len(files) > 1
    assert {name: None for part in files.values() for name in part}.keys() == load_file(
        POCKET / "model.safetensors"
    ).keys()
    assert all(name in files[file] for name, file in index.items())


def row(model: str, problem: int, verdict: str, task: str = "t") -> dict[str, Any]:
    return {"model": model, "task": task, "problem": f"p{problem}", "seed": 0, "verdict": verdict}


def test_a_sweep_promises_up_to_the_first_that_fails() -> None:
    samples = []
    for problem in range(400):
        samples.append(row("base", problem, "right"))
        for name, lost in (("a", 0), ("b", 1), ("c", 40), ("d", 0)):
            samples.append(row(name, problem, "wrong" if problem < lost else "right"))
    tested = promised(samples, "base", ["a", "b", "c", "d"], most=0.02)
    assert [(one.setting, one.passed) for one in tested] == [("a", True), ("b", True), ("c", False)]
    with pytest.raises(BadInput, match="no problem in common"):
        promised([], "base", ["a"], most=0.02)


def test_strengths_and_what_they_set() -> None:
    assert strengths("0.3:0.9", 4) == [0.3, 0.5, 0.7, 0.9]
    for text in ("0.9:0.3", "a", "0.3:", "0.3,0.3", "nan,1"):
        with pytest.raises(BadInput, match="sweep must"):
            strengths(text, 3)
    assert at_strength(build("slerp", MERGE), 0.25) == build("slerp:0.25", MERGE)
    rows = [
        {"model": name, "spent": spent, "accuracy": right}
        for name, spent, right in (("a", 9, 0.9), ("b", 5, 0.8), ("c", 6, 0.7))
    ]
    assert on_frontier(rows) == ["a", "b"]


def test_the_command_merges_at_one_strength(
    others: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["merge", str(others[0]), "--base", "pocket", "--how", "svd", "--out", str(tmp_path / "out"), "--json"]
    monkeypatch.setattr(sys, "argv", ["satisfice", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(tmp_path / "out")
    assert 0 < next(iter(told["distances"].values())) < 1
