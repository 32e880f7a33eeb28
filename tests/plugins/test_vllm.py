"""What a request asks for, row by row; and inside a real vLLM, where it is installed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from satisfice.catalog import parse_sampler
from satisfice.core.errors import BadInput, Unfit, UnknownName
from satisfice.methods.sampling import Truncation
from satisfice.methods.sampling.min_p import MinP
from satisfice.methods.sampling.top_k import TopK
from satisfice.plugins.asked import asked, cut, moved


def params(sampler: object = None, temperature: float = 1.0) -> SimpleNamespace:
    return SimpleNamespace(extra_args=None if sampler is None else {"sampler": sampler}, temperature=temperature)


def test_what_a_request_asks_for() -> None:
    assert asked(params()) is None
    assert asked(SimpleNamespace(extra_args={}, temperature=1.0)) is None
    assert asked(params("top-k:3, temperature, min-p", 2.0)) == Truncation(
        before=(TopK(k=3),), after=(MinP(),), temperature=2.0
    )
    with pytest.raises(UnknownName, match="Did you mean 'min-p'"):
        asked(params("minp"))
    with pytest.raises(BadInput, match="must be a text"):
        asked(params(3))
    with pytest.raises(Unfit, match="output matrix"):
        asked(params("basis-aware"))


def test_only_rows_that_ask_are_cut_and_greedy_ones_are_not() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 50) * 3
    wanted = {0: parse_sampler("top-k:3"), 2: parse_sampler("top-p:0.5", temperature=2.0), 3: parse_sampler("top-k:3")}
    greedy = {4: parse_sampler("top-k:3", temperature=0.0)}
    out = cut(logits.clone(), wanted | greedy, tempered=False)
    assert torch.isfinite(out).sum(1).tolist()[:2] == [3, 50]
    assert torch.equal(out[[1, 4]], logits[[1, 4]])
    assert torch.equal(torch.isfinite(out[2:3]), torch.isfinite(wanted[2].process(logits[2:3])))
    warm = cut(logits.clone() / 2.0, {2: wanted[2]}, tempered=True)
    assert torch.equal(torch.isfinite(warm[2]), torch.isfinite(out[2])), "both runners keep the same tokens"
    assert torch.equal(out[2][torch.isfinite(out[2])], logits[2][torch.isfinite(out[2])]), "kept scores are untouched"


def test_requests_move_between_rows() -> None:
    a, b = parse_sampler("top-k:1"), parse_sampler("top-k:2")
    rows = {0: a, 3: b}
    moved(rows, [(3, 1, False)])
    assert rows == {0: a, 1: b}
    moved(rows, [(0, 1, True)])
    assert rows == {0: b, 1: a}
    moved(rows, [(0, 2, True)])
    assert rows == {2: b, 1: a}
    moved(rows, [(5, 1, False)])
    assert rows == {2: b}, "what is replaced is gone"


PROGRAM = """
import json, sys
from vllm import LLM, SamplingParams
from satisfice.plugins import vllm_path
from satisfice.models.resolve import model_folder

def main():
    llm = LLM(str(model_folder("pocket")), logits_processors=[vllm_path()], enforce_eager=True, max_model_len=256,
              dtype="float32", gpu_memory_utilization=0.2, seed=0)
    def run(**extra):
        wanted = [SamplingParams(temperature=2.0, max_tokens=40, ignore_eos=True, logprobs=3, seed=i, **extra)
                  for i in range(6)]
        return llm.generate(["<|user|>1 + 2 - 3<|assistant|><think>"] * 6, wanted)
    filtered, free = run(extra_args={"sampler": "top-k:2"}), run()
    def ranks(outs):
        told = [o.outputs[0] for o in outs]
        return [max(step[t].rank for step, t in zip(o.logprobs, o.token_ids)) for o in told]
    try:
        run(extra_args={"sampler": "no-such"})
        refused = ""
    except Exception as error:
        refused = str(error)
    row = {"path": vllm_path(), "filtered": ranks(filtered), "free": ranks(free), "refused": refused}
    print("TOLD" + json.dumps(row))

if __name__ == "__main__":
    main()
"""


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM has an environment of its own: .venv-vllm/bin/pytest")
@pytest.mark.parametrize("runner", ["0", "1"])
def test_inside_a_real_vllm_only_kept_tokens_are_sampled(runner: str) -> None:
    from vllm.triton_utils import HAS_TRITON

    if runner == "1" and not HAS_TRITON:
        pytest.skip("vLLM's second model runner needs Triton, which this machine has not")
    command = [sys.executable, "-c", PROGRAM]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    run = subprocess.Popen(command, env={**os.environ, "VLLM_USE_V2_MODEL_RUNNER": runner}, **quiet)
    try:
        told, errors = run.communicate(timeout=280)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)  # its engine is a process of its own
    line = next((line for line in told.splitlines() if line.startswith("TOLD")), None)
    assert line is not None, told[-2000:] + errors[-4000:]
    row = json.loads(line[4:])
    assert row["path"].endswith("v2:Truncate" if runner == "1" else "v1:Truncate")
    assert max(row["filtered"]) <= 2
    assert max(row["free"]) > 2
    assert "unknown filter 'no-such'" in row["refused"]
