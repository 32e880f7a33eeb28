"""Operations of a two-layer model, counted by hand from its matrices, and of a real sample."""

import asyncio
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.engines import load_engine
from satisfice.measure.compute import Shape, costs, read_shape, sample_flops, shape_of
from satisfice.measure.plan import make_plan
from satisfice.measure.run import run_bench
from satisfice.measure.store import read_samples

TWO = Shape(layers=2, width=8, heads=2, key_heads=1, head_width=4, inner=16, vocabulary=32)


@dataclass
class Chain:
    name: str
    sampled: int
    injected: int = 0
    prefilled: int = 0


def by_hand(context: int, sampled: bool) -> int:
    """One forward pass of one token, matrix by matrix: 2 operations for each weight that meets a number."""
    layer = sum(2 * rows * columns for rows, columns in [
        (8, 2 * 4),  # queries: two heads of four
        (8, 4), (8, 4),  # keys and values: one head
        (8, 8),  # back to the width
        (8, 16), (8, 16), (16, 8),  # gate, up, down
    ])  # fmt: skip
    scores = 2 * 2 * 4 * context  # both heads: the dot products with each key
    values = 2 * 2 * 4 * context  # and the weighted sum of the values
    return 2 * (layer + scores + values) + (2 * 8 * 32 if sampled else 0)


def test_a_token_of_a_two_layer_model_is_counted_as_by_hand() -> None:
    for context in (1, 2, 10, 1000):
        for sampled in (False, True):
            assert TWO.flops(context - 1, 1, int(sampled)) == by_hand(context, sampled)
    assert TWO.active_parameters == 2 * (64 + 32 + 32 + 64 + 3 * 128) + 8 * 32
    assert TWO.weight_bytes("torch.bfloat16") == 2 * TWO.active_parameters
    assert TWO.weight_bytes("int3") is None


@given(st.integers(0, 50), st.integers(0, 30), st.integers(0, 30))
def test_tokens_in_a_row_cost_what_they_cost_one_by_one(context: int, tokens: int, more: int) -> None:
    single = sum(by_hand(context + i + 1, sampled=False) for i in range(tokens + more))
    assert TWO.flops(context, tokens + more, 0) == single
    assert TWO.flops(context, tokens, 0) + TWO.flops(context + tokens, more, 0) == single


def test_a_probe_pays_for_what_it_rereads_only_in_attention() -> None:
    chains = [Chain("0", 20), Chain("0.0", 3, injected=2)]
    plain = sample_flops(TWO, 5, chains[:1], {})
    assert plain == sum(by_hand(i, False) for i in range(1, 6)) + sum(by_hand(i, True) for i in range(6, 26))
    probe = sample_flops(TWO, 5, chains, {"0.0": 12}) - plain
    assert probe == sum(by_hand(5 + 12 + i, False) for i in range(1, 6)) + 3 * 2 * 8 * 32
    lost = sample_flops(TWO, 5, [Chain("0", 20, prefilled=10)], {}) - plain
    assert lost == sum(by_hand(i, False) for i in range(1, 11))


def test_experts_that_a_token_does_not_use_cost_nothing() -> None:
    config = {
        "model_type": "qwen3_moe", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 99, "moe_intermediate_size": 16,
        "num_experts": 10, "num_experts_per_tok": 2, "vocab_size": 32,
    }  # fmt: skip
    shape = read_shape(config)
    assert shape is not None
    assert shape.layer_parameters == TWO.layer_parameters + 3 * 8 * 16 + 8 * 10
    assert read_shape({**config, "model_type": "mamba"}) is None
    assert read_shape({"model_type": "llama"}) is None


def test_what_is_not_known_is_null() -> None:
    assert shape_of("http://127.0.0.1:1/v1") is None
    assert shape_of("no such model") is None
    assert costs("no such model", "float32") == {"active_parameters": None, "flops": None, "weight_bytes": None}


def test_a_run_of_the_pocket_model_counts_its_operations(tmp_path: Path) -> None:
    shape = shape_of("pocket")
    assert shape is not None
    engine = load_engine("pocket", rows=8, batch=8)
    tied = engine.describe()["parameters"]
    assert 0 <= tied - shape.active_parameters < 0.01 * tied  # norms alone are left out: embedding and output are one
    plan = make_plan(model="pocket", tasks=["chain-sum:easy"], policies="full,deer", limit=2)
    results = asyncio.run(run_bench(plan, engine, tmp_path / "run"))
    for row in read_samples(tmp_path / "run"):
        least = 2 * (shape.layers * shape.layer_parameters) * (row["spent"] + row["injected"])
        assert least < row["flops"] < 3 * (least + 2 * shape.active_parameters * 200)
    for policy, row in itertools.product(("full", "deer"), results["rows"]):
        if row["policy"] == policy:
            found = [one["flops"] for one in read_samples(tmp_path / "run") if one["policy"] == policy]
            assert row["flops"] == pytest.approx(sum(found) / len(found))
    told = json.loads((tmp_path / "run" / "results.json").read_text())["environment"]["compute"]["pocket"]
    assert told["weight_bytes"] == 4 * shape.active_parameters
