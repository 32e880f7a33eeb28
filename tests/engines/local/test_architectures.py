"""Decoder-only models of several families: the engine's greedy chains and log-probabilities equal transformers' own."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engines.conftest import save_tiny
from tests.engines.local.test_engine import PROBLEMS, Looker, run, settled, tokens
from transformers import AutoConfig, AutoModelForCausalLM

from satisfice.core.engine import Request, Signals
from satisfice.core.errors import BadInput
from satisfice.engines.local.engine import LocalEngine
from satisfice.engines.local.forward import Fused
from satisfice.engines.local.runner import TorchPass

SHAPE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "eos_token_id": 5, "pad_token_id": 0,
    "bos_token_id": None, "initializer_range": 0.12,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 128}  # fmt: skip
FUSED = {
    "llama": {"attention_bias": True, "mlp_bias": True, "rope_parameters": LLAMA3},
    "mistral": {"sliding_window": None, "head_dim": 24},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 32},
}
OTHERS = {
    "phi3": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}},
    "olmo2": {},
    "stablelm": {"partial_rotary_factor": 0.5},
    "gpt_neox": {"num_key_value_heads": 4},  # it has no shared heads
}


@pytest.mark.parametrize(
    ("kind", "compiled"), [*((kind, None) for kind in FUSED), *((kind, False) for kind in (*FUSED, *OTHERS))]
)
def test_greedy_chains_logprobs_and_states_equal_transformers(tmp_path: Path, kind: str, compiled: bool | None) -> None:
    folder = save_tiny(tmp_path)
    vocabulary = AutoConfig.from_pretrained(folder).vocab_size
    torch.manual_seed(1)
    config = AutoConfig.for_model(kind, **{**SHAPE, "vocab_size": vocabulary, **(FUSED | OTHERS)[kind]})
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, value in model.named_parameters():
        if "norm" in name or "bias" in name:  # ones and zeros would hide an error in them
            torch.nn.init.normal_(value, mean=float("norm" in name and "weight" in name), std=0.1)
    model.save_pretrained(folder)

    async def go() -> None:
        async with LocalEngine(str(folder), compiled=compiled) as engine:
            passes = engine._loop.passes
            assert (
                isinstance(passes.forward, Fused) == (kind in FUSED) if isinstance(passes, TorchPass) else kind in FUSED
            )
            asked = Signals(logprobs=True, hidden=(0, 2, -1))
            sequences = [engine.open(p.question, p.id) for p in PROBLEMS[:5]]
            prompts = [list(s.ids) for s in sequences]
            got = await asyncio.gather(
                *(s.sample(Request(limit=60, temperature=0, signals=asked)) for s in sequences)
            )  # fmt: skip
        for sequence, prompt, sampled in zip(sequences, prompts, got, strict=True):
            with torch.no_grad():
                out = model(torch.tensor([sequence.ids]), output_hidden_states=True)
            scores = out.logits[0, len(prompt) - 1 : -1]
            chosen = torch.log_softmax(scores, -1).gather(1, torch.tensor(sampled.ids)[:, None])[:, 0]
            assert (scores.max(-1).values - scores.gather(1, torch.tensor(sampled.ids)[:, None])[:, 0]).max() < 1e-4
            np.testing.assert_allclose(sampled.logprobs, chosen, atol=2e-4)
            for layer in (0, 2, -1):
                states = out.hidden_states[layer][0, len(prompt) - 1 : -1]
                np.testing.assert_allclose(sampled.hidden[layer], states, atol=2e-4)

    asyncio.run(go())


def test_a_cache_too_small_for_all_makes_chains_wait_and_ends_with_the_same_tokens(tiny: Path) -> None:
    """Rows of several widths compete for memory that holds about three of the widest."""

    async def go() -> None:
        async with LocalEngine(str(tiny), max_length=240) as engine:
            wide = [tokens(s) for s in await run(engine, Looker(), PROBLEMS[:24])]
            narrowest, widest = engine._loop.cache.slabs[0], engine._loop.cache.widest_row
            assert widest == 2 * narrowest.width * engine._loop.cache.position_bytes
        gib = 3.2 * widest / 2**30
        async with LocalEngine(str(tiny), max_length=240, cache_gib=gib) as engine:
            done = await asyncio.wait_for(run(engine, Looker(), PROBLEMS[:24]), 120)
            assert [tokens(s) for s in done] == wide
            assert sum(s.ledger.prefilled for s in done) > 0
            assert engine._loop.cache.bytes <= 3.2 * widest
            assert await settled(engine) == 0

    asyncio.run(go())


def test_a_cache_too_small_for_one_chain_is_refused(tiny: Path) -> None:
    with pytest.raises(BadInput, match=r"cache_gib=1e-06 does not hold one chain of max_length=512"):
        LocalEngine(str(tiny), cache_gib=1e-6)
