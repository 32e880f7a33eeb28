"""What a request asks for, row by row; and inside a real vLLM, where it is installed.

How rules go with rows is in `test_steps.py`.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.engines.servers import real_server
from tests.plugins.test_steps import alone, scores_after, words

from satisfice.catalog import build, parse_sampler
from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.engines.local.engine import LocalEngine
from satisfice.methods.sampling import Truncation
from satisfice.methods.sampling.min_p import MinP
from satisfice.methods.sampling.top_k import TopK
from satisfice.models.resolve import model_folder
from satisfice.models.words import TokenizerWords
from satisfice.plugins.asked import asked, cut, moved
from satisfice.tasks import load_task


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
    with pytest.raises(BadInput, match="output matrix"):
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


REFUSED = {
    "no-such": "unknown policy 'no-such'",
    "deer": "deer needs more than a sampler sees, so it cannot run inside the server.",
    "fixed-budget:-1": "fixed-budget: tokens must be a whole number (at least 0), got -1.",
    "first-cue(": "cannot be read",
}


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM has an environment of its own: .venv-vllm/bin/pytest")
def test_a_real_server_stops_where_the_local_engine_does_and_refuses_in_a_sentence(tmp_path: Path) -> None:
    questions = [problem.question for problem in load_task("chain-sum:easy", limit=12).problems]
    specs = (
        "first-cue",
        "fixed-budget(tokens=20, at=step)",
        "deepconf-line(window=8, below=none, above=13.8)",
        "end-mass:0.05",
    )

    async def local() -> dict[str, list[list[int]]]:
        async with LocalEngine("pocket") as engine:

            async def one(spec: str, question: str) -> list[int]:
                problem = Problem(id=question, task="t@1", question=question, answer="")
                solution = await solve(build(spec), Session(engine, problem, temperature=0.0, chain_limit=300))
                ids = [i for span in solution.spans if span.kind != "prompt" for i in span.ids]
                return [i for i in ids if i not in engine.end_ids]

            return {spec: await asyncio.gather(*(one(spec, question) for question in questions)) for spec in specs}

    wanted, form = asyncio.run(local()), TokenizerWords(model_folder("pocket"))
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model_folder("pocket")),
        "--served-model-name", "m", "--dtype", "float32", "--enforce-eager", "--port", "{port}",
        "--logits-processors", "satisfice.plugins.vllm:Stop", "--max-num-seqs", "5",
    ]  # fmt: skip
    with real_server(command, "/health", log=tmp_path / "log", wait_s=600, VLLM_CPU_KVCACHE_SPACE="1") as base:

        def ask(rule: object, question: str) -> dict[str, Any]:
            body = {
                "model": "m", "prompt": form.render(question, form.profile), "temperature": 0, "max_tokens": 300,
                "return_token_ids": True, "vllm_xargs": {"satisfice": rule}, "add_special_tokens": False,
            }  # fmt: skip
            headers = {"content-type": "application/json"}
            request = urllib.request.Request(f"{base}/v1/completions", json.dumps(body).encode(), headers)
            try:
                with urllib.request.urlopen(request, timeout=120) as response:
                    return dict(json.loads(response.read()))
            except urllib.error.HTTPError as error:
                return {"status": error.code, "said": error.read().decode()}

        for rule, said in REFUSED.items():
            refused = ask(rule, questions[0])
            assert (refused["status"], said in json.loads(refused["said"])["error"]["message"]) == (400, True), refused
        with ThreadPoolExecutor(8) as pool:
            jobs = {(spec, n): pool.submit(ask, spec, q) for n, q in enumerate(questions) for spec in specs}
        end = form.end_ids
        differ = [
            (spec, n)
            for (spec, n), job in jobs.items()
            if [i for i in job.result()["choices"][0]["token_ids"] if i not in end] != wanted[spec][n]
        ]
    assert len(differ) <= 1, differ  # a tie of the two likeliest tokens may go either way


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM has an environment of its own: .venv-vllm/bin/pytest")
def test_the_second_runner_by_its_interface() -> None:
    """Slots that are filled, emptied, filled again and put into another order each step; it itself needs Triton."""
    pytest.importorskip("vllm.v1.worker.gpu.sample.logits_processor.interface")
    from vllm import SamplingParams
    from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsContext, LogitsProcRequestState

    from satisfice.plugins.vllm_v2 import Stop

    folder, slots = str(model_folder("pocket")), 4
    model = SimpleNamespace(tokenizer=folder, model=folder, get_vocab_size=lambda: 1024)
    with pytest.raises(ValueError, match="with speculative decoding several are"):
        Stop(SimpleNamespace(model_config=model, speculative_config=object()), None)
    ids = torch.zeros(slots, 80, dtype=torch.int32)
    lengths = {name: SimpleNamespace(np=np.zeros(slots, dtype=np.int32)) for name in ("prompt", "prefill")}
    states = LogitsProcRequestState(
        device=torch.device("cpu"), max_num_reqs=slots, vocab_size=1024, all_token_ids=SimpleNamespace(gpu=ids),
        prompt_len=lengths["prompt"], prefill_len=lengths["prefill"], total_len=SimpleNamespace(gpu=None),
    )  # fmt: skip
    stop = Stop(SimpleNamespace(model_config=model, speculative_config=None), states)
    rng, prompt = np.random.default_rng(0), words().encode("1 + 2<think>")
    running: dict[int, tuple[str, list[int]]] = {}
    waiting = ["first-cue", "", "cap:7", "end-mass:0.3", "deepconf-line(window=3, below=7.5)", "no-wait", "", "cap:0"]
    held = 0
    while waiting or running:
        for slot in [slot for slot in range(slots) if slot not in running and waiting]:
            spec = waiting.pop()
            params = SamplingParams(temperature=0, seed=0, extra_args={"satisfice": spec} if spec else None)
            assert stop.add_request(slot, params) == bool(spec)
            running[slot], lengths["prompt"].np[slot] = (spec, []), len(prompt)
            ids[slot, : len(prompt)] = torch.tensor(prompt)
        order = rng.permutation(list(running))
        at = torch.tensor([len(prompt) + len(running[slot][1]) - 1 for slot in order])
        mapping = torch.tensor(order)
        context = LogitsContext(
            expanded_idx_mapping=mapping, idx_mapping=mapping, idx_mapping_np=order, pos=at,
            expanded_local_pos=torch.zeros_like(at), input_ids=ids[mapping, at],
            seq_lens_upper_bound_np=(at + 1).numpy(),
        )  # fmt: skip
        logits = torch.stack([scores_after((*prompt, *running[slot][1])) for slot in order])
        for slot, token in zip(order, stop.apply(logits, context).argmax(-1).tolist(), strict=True):
            spec, output = running[slot]
            ids[slot, len(prompt) + len(output)] = token
            output.append(token)
            if len(output) == 20:
                assert output == alone(spec, tuple(prompt), 20), spec
                held += 1
                del running[slot]
    assert held == 8
