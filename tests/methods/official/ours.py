"""Our side of the comparison with the authors' code: what ours makes of a recorded input, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tests.methods.official import shapers
from tests.methods.parallel.stage import PROBLEM
from tests.methods.parallel.stage import play as play_chains
from tests.methods.stopping.stage import play

from satisfice.core.engine import Request, random_key
from satisfice.engines.scripted import END
from satisfice.methods.parallel.adaptive_consistency import decided
from satisfice.methods.parallel.deepconf import DeepConf, chain_score
from satisfice.methods.parallel.leap import Leap, route, tag_rest
from satisfice.methods.parallel.st_bon import apart_at, chain_feature, disagreement
from satisfice.methods.sampling.epsilon import epsilon
from satisfice.methods.sampling.eta import eta
from satisfice.methods.sampling.top_h import top_h
from satisfice.methods.sampling.top_n_sigma import top_n_sigma
from satisfice.methods.sampling.top_p import top_p
from satisfice.methods.sampling.typical import typical
from satisfice.methods.shaping.format_length_surrogate import FormatLengthSurrogate
from satisfice.methods.stopping.deer import confidence
from satisfice.methods.stopping.dynasor_cot import DynasorCot
from satisfice.methods.stopping.lynx import conformal, exits
from satisfice.testing import rollouts

SURE = 0.999999  # probability of the tokens that end a scripted chain
Input = Mapping[str, Any]


def adaptive_consistency(x: Input) -> Any:
    return decided(x["counts"], x["criterion"])


def deepconf_score(x: Input) -> Any:
    return chain_score(x["confidence"], x["score"], x["window"])


def deepconf(x: Input) -> Any:
    """The answer of the policy, on chains whose tokens have the confidences of the input."""
    keys = {random_key(0, PROBLEM.id, str(n)): n for n in range(len(x["chains"]))}

    def script(so_far: str, request: Request) -> Any:
        confidence, answer = x["chains"][keys[request.key]], x["answers"][keys[request.key]]
        at = len(so_far)
        if at < len(confidence):
            p = float((1 + np.sqrt(1 - 4 * np.exp(-2 * confidence[at]))) / 2)
            return {".": p, ",": 1 - p}
        rest = f"{'.' * len(confidence)}</think>{answer}"[at:] or END
        return {rest: SURE, ",": 1 - SURE}

    rule = DeepConf(n=len(keys), warmup=x["warmup"], window=x["window"], eta=x["eta"], top=2, consensus=None)
    if x["mode"] == "offline":
        rule = replace(rule, mode="offline", score=x["score"])
    return play_chains(rule, script, temperature=0.0)[0].text


def format_length_surrogate(x: Input) -> Any:
    batch = rollouts([0], [x["length"]], thinking_closed=[x["closed"]], answer_found=[x["found"]])
    return float(FormatLengthSurrogate()(batch).reward[0])


def leap_route(x: Input) -> Any:
    found = []
    for i, own in enumerate(x["summaries"]):
        others = [j for j in range(len(x["summaries"])) if j != i]
        told = [x["summaries"][j] for j in others]
        found.append([others[j] for j in route(own, told, x["k"], x["route"], repeats=True)])
    return found


def leap_tag(x: Input) -> Any:
    return x["summary"] + tag_rest(x["summary"])


def leap_exchanges(x: Input) -> Any:
    def never(so_far: str, request: Request) -> Any:
        if "</think>" in so_far:
            return END if not so_far.endswith("</think>") else "9"
        return "</summarize>" if so_far.rfind("<summarize>") > so_far.rfind("</summarize>") else "z "

    solution, _ = play_chains(Leap(n=2, turn=10, max_turns=x["max_turns"]), never)
    return solution.thinking.count("<comment>")


def dynasor(x: Input) -> Any:
    """How many chunks are kept and the answer; None for a chain that comes to its own end."""
    story = "x " * len(x["trials"]) + "</think>7"

    def script(so_far: str, request: Request) -> Any:
        thinking, asked, said = so_far.partition("</think>")
        if request.temperature > 0:
            return story[len(so_far) :] or END
        trial = x["trials"][len(thinking) // 2] if asked else ""
        return trial[len(said) :] or END

    box = {"answer_end": ("}",)}
    solution = play(DynasorCot(loop="released", k=x["k"], chunk=2, greedy=True), script, profile=box)
    return [len(solution.thinking) // 2, solution.text] if solution.ended == "rule" else None


def deer(x: Input) -> Any:
    beyond = int(x["script"] == "vanilla")
    return confidence(np.log(x["probabilities"]), x["mean"], skip=1, beyond=beyond)


def lynx(x: Input) -> Any:
    q_wrong, q_right = conformal(x["wrong"], x["right"], x["delta"])
    return [q_wrong, q_right, exits(x["p"], q_wrong, q_right)]


def st_bon(x: Input) -> Any:
    states = np.random.default_rng(x["seed"]).standard_normal(x["shape"])  # [layers, samples, d]
    features = [chain_feature(states[:, i]) for i in range(states.shape[1])]
    return [features, disagreement(features).tolist()]


def st_bon_apart(x: Input) -> Any:
    return apart_at(x["chains"], len(x["chains"][0]))


def logits(x: Input) -> np.ndarray[Any, Any]:
    """The row of scores that a recorded seed stands for, `[1, vocab]`."""
    return (x["scale"] * np.random.default_rng(x["seed"]).standard_normal((1, x["vocab"]))).astype(np.float32)


def kept(x: Input) -> Any:
    filters: Mapping[str, Callable[[Any], Any]] = {
        "top-h": lambda z: top_h(z, x["value"], mode=x["mode"]),
        "top-n-sigma": lambda z: top_n_sigma(z, x["value"], sigma="sample"),
        "epsilon": lambda z: epsilon(z, x["value"]),
        "eta": lambda z: eta(z, x["value"]),
        "top-p": lambda z: top_p(z, x["value"]),
        "typical": lambda z: typical(z, x["value"]),
    }
    return int(np.asarray(filters[x["filter"]](torch.tensor(logits(x)))).sum())


OURS: Mapping[str, Callable[[Input], Any]] = {
    "adaptive-consistency": adaptive_consistency,
    "deepconf": deepconf,
    "deepconf-score": deepconf_score,
    "deer": deer,
    "desmoothing": kept,
    "dynasor-cot": dynasor,
    "format-length-surrogate": format_length_surrogate,
    "leap-exchanges": leap_exchanges,
    "leap-route": leap_route,
    "leap-tag": leap_tag,
    "lynx": lynx,
    "st-bon": st_bon,
    "st-bon-apart": st_bon_apart,
    "top-h": kept,
    "top-n-sigma": kept,
    **shapers.OURS,
}


def close(a: Any, b: Any) -> bool:
    """Whether two results are the same: numbers to 1e-4, everything else exactly."""
    if isinstance(a, Sequence) and not isinstance(a, str):
        return isinstance(b, Sequence) and len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and not isinstance(b, bool) and isinstance(b, (int, float)):
        return abs(a - b) < 1e-4
    return bool(a == b)
