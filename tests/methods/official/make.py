"""Run the authors' own code beside ours on random inputs, and write down what it says.

    python -m tests.methods.official.make FOLDER [name ...]

FOLDER holds checkouts of the repositories in `SOURCES`, each under its name. Of each of them only the functions named
here are taken out of their files and run; nothing of them is part of this repository. Prints how many of 1,000 inputs
differ, and keeps 250 of each with their results in `<name>.json`, where the licence allows it; `test_official.py`
holds ours against those.
"""

import ast
import contextlib
import io
import json
import math
import sys
import types
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.methods.official import shapers
from tests.methods.official.ours import OURS, SURE, close, logits
from tests.methods.official.take import take

COUNT, KEEP = 1000, 250
SOURCES = {  # name: (repository, commit, licence, whether numbers are kept)
    "adaptive-consistency": ("Pranjal2041/AdaptiveConsistency", "899ab565eb", "Apache-2.0", True),
    "deepconf": ("facebookresearch/deepconf", "675529d172", "MIT", True),
    "deepconf-score": ("facebookresearch/deepconf", "675529d172", "MIT", True),
    "deer": ("iie-ycx/DEER", "c9dd19fbff", "MIT", True),
    "desmoothing": ("john-hewitt/truncation-sampling", "2f33a7498a", "none stated", False),
    "dynasor-cot": ("hao-ai-lab/Dynasor", "0d2f1b93a6", "MIT", True),
    "format-length-surrogate": ("insightLLM/rl-without-gt", "c1e2077c6b", "MIT", True),
    "leap-exchanges": ("tongxuluo/LeaP", "589ff64333", "Apache-2.0", True),
    "leap-route": ("tongxuluo/LeaP", "589ff64333", "Apache-2.0", True),
    "leap-tag": ("tongxuluo/LeaP", "589ff64333", "Apache-2.0", True),
    "lynx": ("farukakgul/LYNX", "e62c6c2f1b", "none stated", False),
    "st-bon": ("Alsace08/ST-BoN", "b0754717c8", "Apache-2.0", True),
    "st-bon-apart": ("Alsace08/ST-BoN", "b0754717c8", "Apache-2.0", True),
    "top-h": ("ErfanBaghaei/Top-H-Decoding", "e3cc917d54", "MIT", True),
    "top-n-sigma": ("Tomorrowdawn/top_nsigma", "82ac59a5c3", "MIT", True),
    **shapers.SOURCES,
}
Case = tuple[dict[str, Any], Any]


class Broadcasting:
    """numpy whose `prod` takes numbers among arrays, as versions before 1.24 did."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def prod(self, values: Any, axis: int = 0) -> Any:
        return np.prod(np.broadcast_arrays(*values), axis=axis)


def adaptive_consistency(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    from scipy import integrate, stats

    names = {"beta": "Beta", "dirichlet": "Dirichlet", "entropy": "Entropy", "majority": "Majority"}
    classes = [f"{name}StoppingCriteria" for name in names.values()]
    import collections

    code = take(
        folder / "AdaptiveConsistency/adaptive_consistency/stopping_criterias.py", "StoppingCriterias", *classes,
        np=Broadcasting(), integrate=integrate, stats=stats, Counter=collections.Counter,
    )  # fmt: skip
    np.random.seed(0)
    while True:
        kinds = int(rng.integers(1, 7))
        counts = [int(n) for n in rng.integers(1, int(rng.choice([3, 6, 14])), kinds)]
        answers = [str(i) for i, n in enumerate(counts) for _ in range(n)]
        for criterion, name in names.items():
            got = getattr(code, f"{name}StoppingCriteria")().should_stop(answers)
            if criterion != "dirichlet" or abs(got["prob"] - 0.95) > 0.02:  # it is drawn there
                yield {"counts": counts, "criterion": criterion}, bool(got["stop"])


def deepconf_score(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = take(
        folder / "deepconf/deepconf/utils.py", "calculate_mean_confidence", "calculate_tail_confidence",
        "calculate_bottom_window_confidence", np=np,
    )  # fmt: skip
    bottom = code.calculate_bottom_window_confidence
    while True:
        values = [float(v) for v in rng.uniform(0.5, 20, int(rng.integers(1, 120))).round(3)]
        window, trace = int(rng.integers(1, 60)), {"confs": values}
        for score, value in {
            "mean": code.calculate_mean_confidence(trace), "tail": code.calculate_tail_confidence(trace, window),
            "bottom": bottom(trace, window), "lowest": bottom(trace, window, -1),
        }.items():  # fmt: skip
            yield {"confidence": values, "score": score, "window": window}, float(value)


def deepconf(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    from collections import Counter, defaultdict

    base = folder / "deepconf/deepconf"
    names = [n.name for n in ast.parse((base / "utils.py").read_text()).body if isinstance(n, ast.FunctionDef)]
    utils = take(base / "utils.py", *names, np=np, Counter=Counter, defaultdict=defaultdict)
    import copy
    import time

    wrapper = take(
        base / "wrapper.py", "DeepThinkLLM", np=np, copy=copy, time=time, SamplingParams=object,
        DeepThinkOutput=lambda: types.SimpleNamespace(voting_results={}, all_traces=[], print_summary=lambda: None),
        **{name: getattr(utils, name) for name in names},
    )  # fmt: skip
    ends = -(math.log(SURE) + math.log(1 - SURE)) / 2
    while True:
        count, window, warmup = int(rng.integers(2, 9)), int(rng.integers(1, 6)), int(rng.integers(1, 5))
        warmup = min(warmup, count)
        chains = [[float(v) for v in (rng.integers(36, 120, int(rng.integers(1, 9))) / 50)] for _ in range(count)]
        answers = [str(rng.choice(["1", "2", "3", ""], p=[0.4, 0.3, 0.1, 0.2])) for _ in range(count)]
        eta = float(rng.choice([10, 50, 90]))
        mode = "online" if rng.random() < 0.6 else "offline"
        score = str(rng.choice(["tail", "bottom"]))
        tokens = [c + [ends] * (3 if a else 2) for c, a in zip(chains, answers, strict=True)]
        traces = iter(
            types.SimpleNamespace(
                text=f"boxed{{{answer}}}" if answer else "", token_ids=[0] * len(conf), finish_reason="stop",
                logprobs=[{0: types.SimpleNamespace(logprob=-c)} for c in conf],
            )
            for conf, answer in zip(tokens, answers, strict=True)
        )  # fmt: skip
        case = {
            "mode": mode, "chains": chains, "answers": answers, "warmup": warmup, "window": window, "eta": eta,
            "score": score,
        }  # fmt: skip
        if mode == "offline":
            valid = [{"confs": c, "extracted_answer": a} for c, a in zip(tokens, answers, strict=True) if a]
            case |= {"eta": 10.0, "window": 2048}
            if len(valid) > 1:
                name = {"tail": "top10_tail_filtered", "bottom": "top10_bottom_window_filtered"}[score]
                yield case, utils.compute_all_voting_results(valid)[name]["answer"]
            continue
        model = object.__new__(wrapper.DeepThinkLLM)
        model.init_times = {"llm_init_time": 0, "tokenizer_init_time": 0}
        model.model_name, model.tokenizer = "", types.SimpleNamespace(eos_token_id=0)
        model.llm = types.SimpleNamespace(
            generate=lambda prompts, params, traces=traces: [
                types.SimpleNamespace(outputs=[next(traces)]) for _ in prompts
            ]
        )
        got = model.deepthink(
            "", mode="online", warmup_traces=warmup, total_budget=count, confidence_percentile=eta,
            window_size=window, sampling_params=types.SimpleNamespace(), compute_multiple_voting=False,
        )  # fmt: skip
        near = [abs(c - got.conf_bar) < 0.002 for c in got.final_min_confs]  # it rounds to three decimals
        if got.final_answer is not None and not any(near):
            yield case, got.final_answer


def deer(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    import copy

    functional = torch.nn.functional
    vllm = take(folder / "DEER/vllm-deer.py", "calculate_average_max_prob_from_logprobs", torch=torch, math=math)
    kv = take(
        folder / "DEER/vanilla_deer.py", "calcu_max_probs_w_kv", torch=torch, F=functional, deepcopy=copy.deepcopy
    )
    mean = vllm.calculate_average_max_prob_from_logprobs

    def vanilla(p: list[float]) -> float:
        place = iter(range(len(p)))

        def model(input_ids: Any, past_key_values: Any) -> Any:
            at = next(place)
            token, row = (7 if at == len(p) - 1 else 1), torch.full((1, 1, 50), (1 - p[at]) / 49)
            row[..., token] = p[at]
            return {"logits": row.log(), "past_key_values": None}

        def tokenizer(texts: list[str]) -> Any:
            return {"input_ids": [[7] for _ in texts]}

        return float(kv.calcu_max_probs_w_kv(model, torch.zeros(1, 1), None, tokenizer, 1))

    while True:
        p = [float(v) for v in rng.uniform(0.3, 1, int(rng.integers(3, 20))).round(3)]
        p = [min(v, 0.999) for v in p]
        rows = [{0: types.SimpleNamespace(logprob=math.log(v))} for v in p]
        for policy, name in {"avg1": "arithmetic", "avg2": "geometric", "min": "min"}.items():
            yield {"probabilities": p, "script": "vllm", "mean": name}, mean(rows, policy)
        yield {"probabilities": p, "script": "vanilla", "mean": "arithmetic"}, vanilla(p)


def dynasor_cot(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    core = folder / "Dynasor/dynasor/core"
    same = take(core / "entropy.py", "count_not_empty", "eqaul_group", math_equal=str.__eq__)
    hesitations = ["wait", "hold", "but", "okay", "no", "hmm"]
    code = take(
        core / "cot.py", "obtain_answer", "openai_chat_completion_stream", uncertain_words=hesitations, **vars(same)
    )
    told = ["12}", "12} so", "13}", "12", "", "12} I know", "12}. Wait", "a{1}b}", "12} {", "Okay 12}", "12}}"]
    weight = np.array([6, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1])

    def piece(text: str, reason: str | None = None) -> Any:
        return types.SimpleNamespace(choices=[types.SimpleNamespace(text=text, finish_reason=reason)])

    while True:
        trials = [str(t) for t in rng.choice(told, int(rng.integers(1, 14)), p=weight / weight.sum())]
        k, calls = int(rng.integers(1, 5)), {"think": 0, "ask": 0}

        def create(prompt: str, max_tokens: int, calls: Any = calls, trials: Any = trials, **_: Any) -> Any:
            if "suddenly" in prompt:
                calls["ask"] += 1
                return iter([piece(trials[min(calls["ask"], len(trials)) - 1])])
            calls["think"] += 1
            return iter([piece("x ", "length") if calls["think"] <= len(trials) else piece("</think>7", "stop")])

        client = types.SimpleNamespace(completions=types.SimpleNamespace(create=create))
        text = "".join(code.openai_chat_completion_stream(client, "", "", max_tokens=400, dynasor_saving_effort=(k, 2)))
        kept, stopped, rest = text.partition("\n\n...</think>")
        answer = rest.partition("\\boxed{")[2].rpartition("}\n\\]")[0]
        yield {"k": k, "trials": trials}, [len(kept) // 2, answer] if stopped else None


def format_length_surrogate(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    import re
    import threading

    names = ("soft_format_reward_func_v2", "length_reward_func_v3", "answer_format_reward_func", "RewardMathFn_xrh")
    code = take(
        folder / "rl-without-gt/rl/verl/lib/src/rewards/math_reward.py", *names, re=re, json=json, threading=threading,
        RewardFn=object, RewardInput=object, RewardOutput=types.SimpleNamespace,
        RewardType=types.SimpleNamespace(MATH=1),
        eval_obj=types.SimpleNamespace(parse_answer=lambda text: text.partition("boxed ")[2], val_by_sympy=str.isdigit),
        ground_truths_contain_reward_func=lambda *_: 0.0, ground_truths_reward_func=lambda *_: 0.0,
    )  # fmt: skip
    while True:
        closed, said = bool(rng.random() < 0.6), str(rng.choice(["boxed 7", "boxed", "boxed so", ""]))
        x = {"length": int(rng.integers(1, 5000)), "closed": closed, "found": said == "boxed 7"}
        text = "<think> 3 and 4" + "</think> " * closed + said
        given = types.SimpleNamespace(
            problem_type=1, problem="", model_response=text, response_token_len=x["length"], ground_truth={}
        )
        yield x, float(code.RewardMathFn_xrh()(given).reward)


def _leap(folder: Path) -> Any:
    import random

    for name in ("ray", "vllm"):
        sys.modules.setdefault(name, types.ModuleType(name))
    import Levenshtein  # whose ratio is the router's

    names = (
        "normlize_summary",
        "get_topk_all_gather",
        "is_stop",
        "split_list_by_lengths",
        "find_batch_id",
        "all_gather",
    )
    return take(folder / "LeaP/leap/utils/util.py", *names, Levenshtein=Levenshtein, random=random, comment_subfix="")


def leap_route(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = _leap(folder)
    words = ["x", "y", "=", "4", "5", "so", "parity", "even", "odd", "is"]
    while True:
        said = {" ".join(map(str, rng.choice(words, int(rng.integers(1, 6))))) for _ in range(int(rng.integers(2, 8)))}
        summaries = [str(s) for s in rng.permutation(sorted(said))]
        k, how = int(rng.integers(1, 5)), str(rng.choice(["dispersed", "clustered", "hybrid"]))
        if len(summaries) < 2:
            continue
        prompts = code.get_topk_all_gather(k, how)([f"<summarize> {s} </summarize>" for s in summaries])
        shown = [p.split("<comment> ")[1].split(" </comment>")[0] for p in prompts]
        found = [[summaries.index(line.split('"')[1]) for line in text.split("\n")] for text in shown]
        yield {"summaries": summaries, "k": k, "route": how}, found


def leap_tag(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code, tag = _leap(folder), "</summarize>"
    while True:
        text = "x is " + "".join(rng.choice(list("ab<4 "), int(rng.integers(0, 6)))) + tag[: int(rng.integers(0, 13))]
        yield {"summary": text}, code.normlize_summary([text])[0]


def leap_exchanges(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    import copy

    util = _leap(folder)
    prompts = dict.fromkeys(("GPQA_temp", "leap_prefix_MATH", "leap_subfix_MATH", "GPQA_answer_prompt"), "")
    code = take(
        folder / "LeaP/leap/leap.py", "LeaP", deepcopy=copy.deepcopy, get_leap=lambda: "<summarize>", MATH_cot="",
        MATH_answer_prompt="the end", RayInferPipeline=object, GenerateConfig=object, **prompts, **vars(util),
    )  # fmt: skip
    for turns in range(1, 9):

        def infer(texts: list[str], config: Any, **_: Any) -> Any:
            return [["z"] * config.n for _ in texts] if config.n > 1 else ["z" for _ in texts]

        config, summary = types.SimpleNamespace(n=2), types.SimpleNamespace(n=1)
        tokenizer = types.SimpleNamespace(apply_chat_template=lambda *_, **__: "p\n\n")
        pipeline = types.SimpleNamespace(infer=infer)
        got = code.LeaP(turns).infer_batch([{"q": ""}], pipeline, tokenizer, config, summary, "q")
        yield {"max_turns": turns}, got[0][0].count("<comment>")
    _ = rng


def lynx(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = take(folder / "LYNX/lynx/utils.py", "conformal_quantile", "predictive_set_binary", np=np)
    while True:
        wrong, right = (rng.random(int(rng.integers(1, 40))).round(4) for _ in range(2))
        delta, p = float(rng.choice([0.01, 0.03, 0.05, 0.1, 0.2])), float(rng.random())
        q_wrong, q_right = code.conformal_quantile(wrong, delta), code.conformal_quantile(1 - right, delta)
        stop = code.predictive_set_binary(p, q_right, q_wrong) == [1]
        yield {"wrong": wrong.tolist(), "right": right.tolist(), "delta": delta, "p": p}, [q_wrong, q_right, stop]


def st_bon(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = take(folder / "ST-BoN/decoders.py", "CoECalculator", torch=torch)
    while True:
        x = {"seed": int(rng.integers(1 << 30)), "shape": [int(rng.integers(2, 8)), int(rng.integers(1, 9)), 6]}
        states = torch.tensor(np.random.default_rng(x["seed"]).standard_normal(x["shape"]))
        features = code.CoECalculator.compute_features_batch(states)
        yield x, [features.tolist(), code.CoECalculator.compute_pairwise_scores(features).tolist()]


def st_bon_apart(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = take(folder / "ST-BoN/decoders.py", "STBoNEarlyStopCriteria", torch=torch, StoppingCriteria=object)
    while True:
        chains = rng.integers(0, int(rng.integers(2, 9)), (int(rng.integers(2, 6)), int(rng.integers(1, 9))))
        stop = code.STBoNEarlyStopCriteria(0, [], 1.0)
        for end in range(1, chains.shape[1] + 1):
            stop(torch.tensor(chains[:, :end]), None)
        yield {"chains": chains.tolist()}, stop.c


def _rows(rng: np.random.Generator, low: int, high: int) -> dict[str, Any]:
    scale = float(rng.choice([0.3, 1.0, 3.0, 6.0]))
    return {"seed": int(rng.integers(1 << 30)), "vocab": int(rng.integers(low, high)), "scale": scale}


def top_h(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    from transformers.generation.logits_process import TopHLogitsWarper

    code = take(
        folder / "Top-H-Decoding/logit_processor.py", "TopH_LogitsProcessor", torch=torch, F=torch.nn.functional,
        LogitsProcessor=object,
    )  # fmt: skip
    while True:
        x = {"filter": "top-h", **_rows(rng, 100, 1500), "value": round(float(rng.uniform(0.1, 0.9)), 3)}
        z = torch.tensor(logits(x))
        theirs = {"authors": code.TopH_LogitsProcessor(alpha=x["value"]), "reference": TopHLogitsWarper(x["value"])}
        for mode, run in theirs.items():
            with contextlib.suppress(IndexError):
                yield {**x, "mode": mode}, int((run(None, z.double()) > -math.inf).sum())


def top_n_sigma(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = take(folder / "top_nsigma/src/hf/hf_nsigma.py", "TopNSigma", torch=torch, LogitsProcessor=object)
    while True:
        x = {"filter": "top-n-sigma", **_rows(rng, 3, 1500), "value": round(float(rng.uniform(0.1, 3)), 3)}
        yield x, int((code.TopNSigma(x["value"], "cpu")(None, torch.tensor(logits(x))) > -math.inf).sum())


def desmoothing(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    names = ["TypicalLogitsWarper", "TopPLogitsWarper", "EtaWarper", "EpsilonWarper"]
    fake = types.SimpleNamespace(LogitsWarper=object)
    code = take(folder / "truncation-sampling/src/warpers.py", *names, torch=torch, transformers=fake)
    while True:
        x = _rows(rng, 3, 1500)
        for name, run in {"typical": "Typical", "top-p": "TopP", "eta": "Eta", "epsilon": "Epsilon"}.items():
            value = float(rng.uniform(0.1, 0.98)) if name in ("typical", "top-p") else float(10 ** rng.uniform(-4, -1))
            method = getattr(code, f"{run}Warper" if name in ("eta", "epsilon") else f"{run}LogitsWarper")(value)
            got = method(None, torch.tensor(logits(x)).double())
            yield {"filter": name, **x, "value": value}, int((got > -math.inf).sum())


def main() -> None:
    folder, wanted = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(SOURCES)
    for name in wanted:
        where = vars(shapers) if name in shapers.SOURCES else globals()
        theirs: Callable[..., Iterator[Case]] = where[name.replace("-", "_")]
        with contextlib.redirect_stdout(io.StringIO()):
            cases = list(islice(theirs(folder, np.random.default_rng(0)), COUNT))
            ours = [OURS[name](x) for x, _ in cases]
        differ = [(x, y, our) for (x, y), our in zip(cases, ours, strict=True) if not close(y, our)]
        told = [f"{name}: {len(differ)} of {len(cases)} differ", *(str(d)[:400] for d in differ[:3])]
        sys.stdout.write("\n  ".join(told) + "\n")
        repository, commit, licence, kept = SOURCES[name]
        if kept and not differ:
            about = {"repository": repository, "commit": commit, "licence": licence, "inputs": len(cases)}
            rows = [json.dumps({"in": x, "out": y}) for x, y in cases[:KEEP]]
            text = json.dumps(about)[:-1] + ', "cases": [\n' + ",\n".join(rows) + "\n]}\n"
            Path(__file__).with_name(f"{name}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
