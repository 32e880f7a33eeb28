"""Shapers beside their authors' code: random batches, what that code makes of them, and what ours does."""

import math
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.methods.official.take import take

from satisfice.core.rollouts import Rollouts
from satisfice.methods.shaping import ADlp, DrGrpo, Drpo, Grpo, KimiLength, L1Exact, L1Max, Laser, LaserD, LaserDe, Rloo
from satisfice.methods.shaping.laser_de import goes_in_circles
from satisfice.testing import rollouts

Case = tuple[dict[str, Any], Any]
Input = Mapping[str, Any]
BANDS = ("low", "medium", "high")
WIDTH = 4  # tokens of a rollout whose log-probabilities count

SOURCES = {  # name: (repository, commit, licence, whether numbers are kept)
    "a-dlp": ("JinyanSu1/A-DLP", "afbc411dad", "Apache-2.0", True),
    "dr-grpo": ("sail-sg/understand-r1-zero", "dfca49dd46", "MIT", True),
    "drpo": ("Optimization-AI/DRPO", "405f70268c", "MIT", True),
    "grpo": ("JinyanSu1/A-DLP", "afbc411dad", "Apache-2.0", True),  # verl's, as it comes with that code
    "kimi-length": ("hkust-nlp/Laser", "c9e7c4ef18", "none stated", False),
    "l1": ("cmu-l3/l1", "93dd330102", "MIT", True),
    "laser": ("hkust-nlp/Laser", "c9e7c4ef18", "none stated", False),
    "laser-d": ("hkust-nlp/Laser", "c9e7c4ef18", "none stated", False),
    "laser-de": ("hkust-nlp/Laser", "c9e7c4ef18", "none stated", False),
    "laser-circles": ("hkust-nlp/Laser", "c9e7c4ef18", "none stated", False),
    "rloo": ("U-rara/DOT", "9e6574bd65", "Apache-2.0", True),  # verl's, as it comes with that code
}


def _batch(rng: np.random.Generator, *, longest: int = 9000, alone: bool = True) -> dict[str, Any]:
    """Return groups, verdicts, lengths and cuts; groups are of one size and stand together."""
    groups, size = int(rng.integers(1, 5)), int(rng.integers(1 if alone else 2, 9))
    n = groups * size
    length = np.where(rng.random(n) < 0.1, longest, rng.integers(1, longest + 1, n))
    return {
        "group": np.repeat(np.arange(groups), size).tolist(),
        "correct": (rng.random(n) < np.repeat(rng.random(groups), size)).tolist(),
        "length": length.tolist(),
        "truncated": (length == longest).tolist(),
    }


def _rollouts(x: Input, **columns: Any) -> Rollouts:
    return rollouts(x["correct"], x["length"], x["group"], truncated=x["truncated"], **columns)


def _rows(rewards: Any) -> torch.Tensor:
    """Return rewards per token, all on the last."""
    return torch.nn.functional.pad(torch.tensor(rewards, dtype=torch.float32)[:, None], (2, 0))


# Theirs


def _verl(folder: Path, path: str, name: str) -> Callable[[Any, Any], list[float]]:
    code = take(
        folder / path, name, torch=torch, np=np, defaultdict=defaultdict, AlgoConfig=object,
        register_adv_est=lambda *_: lambda function: function, AdvantageEstimator=types.SimpleNamespace(RLOO=""),
    )  # fmt: skip

    def run(reward: Any, group: Any) -> list[float]:
        rows = _rows(reward)
        return [float(row[0]) for row in getattr(code, name)(rows, torch.ones_like(rows), np.array(group))[0]]

    return run


def grpo(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    run = _verl(folder, "A-DLP/verl/verl/trainer/ppo/core_algos.py", "compute_grpo_outcome_advantage")
    while True:
        x = _batch(rng)
        reward = rng.normal(size=len(x["group"])).round(3).tolist()
        yield {**x, "reward": reward}, run(reward, x["group"])


def rloo(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    run = _verl(folder, "DOT/verl/trainer/ppo/core_algos.py", "compute_rloo_outcome_advantage")
    while True:
        x = _batch(rng)
        reward = rng.normal(size=len(x["group"])).round(3).tolist()
        yield {**x, "reward": reward}, run(reward, x["group"])


def dr_grpo(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    path = folder / "understand-r1-zero/train_zero_math.py"
    code = take(path, "compute_monte_carlo_advantages", torch=torch)
    while True:
        x = _batch(rng)
        given = types.SimpleNamespace(args=types.SimpleNamespace(num_samples=x["group"].count(0), critic_type="drgrpo"))
        paid = np.where(x["truncated"], 0, x["correct"])  # as its actor sets them, in the middle of a long function
        yield x, code.compute_monte_carlo_advantages(given, _rows(paid), None).tolist()


def a_dlp(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = take(folder / "A-DLP/verl/verl/trainer/main_ppo.py", "constrained_reward_fn", torch=torch)
    run = _verl(folder, "A-DLP/verl/verl/trainer/ppo/core_algos.py", "compute_grpo_outcome_advantage")
    while True:
        x, lam = (
            _batch(rng, longest=300),
            round(float(rng.uniform(0.0005, 0.01)), 6),
        )  # large beside the rounding of floats
        tokens = torch.arange(300) < torch.tensor(x["length"])[:, None]
        given = types.SimpleNamespace(
            lambda_len=lam, _orig_reward_fn=lambda _, x=x: _rows(np.array(x["correct"], float))
        )
        batch = types.SimpleNamespace(batch={"attention_mask": tokens, "responses": tokens})
        reward = code.constrained_reward_fn(given, batch).sum(-1)
        yield {**x, "lam": lam}, run(reward.tolist(), x["group"])


def l1(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    names = ("get_delta_score_linear", "get_delta_score_linear_both", "math_reward_fn")
    verdict = types.SimpleNamespace(is_correct=False)
    code = take(
        folder / "l1/math_reward.py", *names, RewardConfig=types.SimpleNamespace, RewardInput=types.SimpleNamespace,
        RewardType=types.SimpleNamespace(MATH=1), RewardMathFn=lambda _: lambda *_, **__: verdict,
    )  # fmt: skip
    config = types.SimpleNamespace(linear_reward=True, multiplier_reward=False, sigmoid_reward=False, alpha=0.0003)
    paid_when_right = types.SimpleNamespace(**{**vars(config), "linear_reward": False, "multiplier_reward": True})
    while True:
        x, at_most = _batch(rng, longest=5000), bool(rng.random() < 0.5)
        x |= {"at_most": at_most, "budget": [int(n) for n in rng.integers(100, 4001, len(x["group"]))]}
        rewards = []
        for right, length, budget in zip(x["correct"], x["length"], x["budget"], strict=True):
            verdict.is_correct = right
            how = {"reward_config": paid_when_right if at_most else config}
            rewards.append(float(code.math_reward_fn("", "", -budget if at_most else budget, length, **how)))
        yield x, rewards


def _laser(folder: Path, *names: str) -> Any:
    return take(
        folder / "Laser/verl/utils/reward_score/length_penalty.py", *names, "_compute_response_info", torch=torch,
        DataProto=object, defaultdict=defaultdict, DIFFICULTY_LEVEL=BANDS, MONITORH_FIELD="accuracy_bands_monitor",
        math=math, detect_token_ngram_repetition_optimized_reversed=lambda tokens: len(tokens) - int(tokens[-1]),
    )  # fmt: skip


def _proto(x: Input, **meta: Any) -> Any:
    """Return a batch as its code takes it; the last token of a response says whether it repeats itself."""
    width = max(x["length"])
    tokens = torch.zeros((len(x["length"]), width), dtype=torch.int64)
    for row, (length, repeats) in enumerate(zip(x["length"], x.get("repetitive", [0] * len(tokens)), strict=True)):
        tokens[row, length - 1] = int(repeats)
    mask = torch.arange(width) < torch.tensor(x["length"])[:, None]
    return types.SimpleNamespace(
        batch={"responses": tokens, "attention_mask": mask}, meta_info=meta,
        non_tensor_batch={"uid": x["group"], "data_source": ["d"]},
    )  # fmt: skip


def _scored(x: Input) -> list[dict[str, float]]:
    rows = zip(x["correct"], x["truncated"], strict=True)
    return [{"score": -1.0 if cut else 1.0 if right else -0.5, "correctness": float(right)} for right, cut in rows]


def laser(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = _laser(folder, "compute_length_reward_larse")
    while True:
        x = _batch(rng, longest=400)
        x |= {"target": int(rng.integers(1, 400)), "mode": str(rng.choice(["reward", "penalty", "hybrid"]))}
        mode = {"length_reward_type": x["mode"]}
        yield x, list(code.compute_length_reward_larse(_proto(x), _scored(x), target_length=x["target"], **mode))


def kimi_length(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    code = _laser(folder, "compute_kimi_penalty")
    while True:
        x = _batch(rng, longest=400, alone=False)
        x["truncated"] = [False] * len(x["group"])  # of a wrong form theirs charges nothing
        x["reward"] = [row["score"] for row in _scored(x)]
        yield x, [float(score) for score in code.compute_kimi_penalty(_proto(x), _scored(x))]


def _bands(folder: Path, rng: np.random.Generator, name: str) -> Iterator[Case]:
    code, base, grid = _laser(folder, name, "_choose_target_length"), folder / "Laser/verl/utils/reward_score", [0]
    bands = take(
        base / "count_length_distribution.py", "_calculate_length_coverage_statistics", "count_accuracy_bands_metrics",
        defaultdict=defaultdict, DIFFICULTY_LEVEL=BANDS, LENGTH_THRESHOLDS=grid,
    )  # fmt: skip
    lengths_from = take(base / "constants.py", "get_length_threshold").get_length_threshold
    while True:
        seen, x = _batch(rng, longest=9000, alone=False), _batch(rng, longest=9000, alone=False)
        lower, rounding = int(rng.choice([512, 1024, 2048])), str(rng.choice(["floor", "ceil"]))
        if name.endswith("_de"):
            x["repetitive"] = (rng.random(len(x["group"])) < 0.4).tolist()
        grid[:] = lengths_from(lower, 8192, 1024)
        whole = types.SimpleNamespace(
            non_tensor_batch={"uid": seen["group"]},
            batch={"correctness": torch.tensor([row["score"] == 1.0 for row in _scored(seen)]).float()},
        )
        metrics = bands.count_accuracy_bands_metrics(whole, torch.tensor(seen["length"]), "d", "monitor")
        reward = getattr(code, name)(
            _proto(x, monitor_metrics=metrics), _scored(x), target_length=8192, n_rollout=seen["group"].count(0),
            length_thresholds=grid, round_method=rounding,
        )  # fmt: skip
        yield {**x, "seen": seen, "lower": lower, "rounding": rounding}, [float(r) for r in reward]


def laser_d(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    yield from _bands(folder, rng, "compute_length_reward_larse_d")


def laser_de(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    yield from _bands(folder, rng, "compute_length_reward_larse_de")


def laser_circles(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    name = "detect_token_ngram_repetition_optimized_reversed"
    code = take(folder / "Laser/verl/utils/reward_score/compute_unique_tokens.py", name, defaultdict=defaultdict)
    while True:
        tokens = rng.integers(0, int(rng.choice([2, 5, 30, 1000])), int(rng.integers(1, 300))).tolist()
        yield {"tokens": tokens}, getattr(code, name)(tokens) < len(tokens)


def drpo(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    masked = types.SimpleNamespace(masked_mean=lambda values, mask: (values * mask).sum() / mask.sum())
    path, name = folder / "DRPO/verl/verl/trainer/ppo/core_algos.py", "compute_policy_loss_drpo"
    code = take(path, name, torch=torch, verl_F=masked)
    while True:
        x = _batch(rng, longest=WIDTH, alone=False)
        x["truncated"] = [False] * len(x["group"])  # its verdicts on those are made elsewhere
        shape = (len(x["group"]), WIDTH)
        old = -rng.exponential(1, shape).round(3)
        x |= {"old": old.tolist(), "logprob": (old + rng.normal(0, 0.05, shape)).round(3).tolist()}
        x |= {"lam": float(rng.choice([0.05, 0.1, 1])), "tau": float(rng.choice([1, 10]))}
        new = torch.tensor(x["logprob"], dtype=torch.float64, requires_grad=True)
        loss, *_ = getattr(code, name)(
            torch.tensor(x["old"], dtype=torch.float64), new, torch.tensor(_mask(x)).double(), torch.tensor(x["group"]),
            torch.tensor(x["correct"]).long(), 1e-4, 1000.0, x["tau"], x["lam"], "kl",
        )  # fmt: skip
        loss.backward()  # type: ignore[no-untyped-call]
        assert new.grad is not None
        yield x, np.round(new.grad.numpy(), 7).tolist()


def _mask(x: Input) -> Any:
    return np.arange(WIDTH) < np.array(x["length"])[:, None]


# Ours


def _advantage(shaper: Any, x: Input, state: Any = None) -> list[float]:
    batch = _rollouts(x, **({"reward": x["reward"]} if "reward" in x else {}))
    found: list[float] = (shaper(batch, state) if state else shaper(batch)).advantage.tolist()
    return found


def _reward(shaper: Any, x: Input, state: Any = None, **columns: Any) -> list[float]:
    batch = _rollouts(x, **columns)
    found: list[float] = (shaper(batch, state) if state else shaper(batch)).reward.tolist()
    return found


def ours_l1(x: Input) -> list[float]:
    shaper = L1Max(form="code") if x["at_most"] else L1Exact()
    return _reward(shaper, x, budget=x["budget"])


def ours_laser(x: Input) -> list[float]:
    return _reward(Laser(target=x["target"], mode=x["mode"]), x)


def ours_bands(x: Input) -> list[float]:
    kind = LaserDe if "repetitive" in x else LaserD
    shaper = kind(lower=x["lower"], upper=8192, rounding=x["rounding"])
    more = {"repetitive": x["repetitive"]} if "repetitive" in x else {}
    return _reward(shaper, x, shaper.monitor(shaper.init(), _rollouts(x["seen"])), **more)


def ours_drpo(x: Input) -> list[list[float]]:
    """The gradient of the loss by each log-probability."""
    shaper, mask = Drpo(lam=x["lam"], tau=x["tau"], capacity=WIDTH), _mask(x)
    shaped = shaper(_rollouts(x, logprob=x["logprob"], mask=mask))
    gradient = -shaper.loss.share(mask) * shaped.advantage[:, None]
    divergence = float((np.array(x["old"]) - np.array(x["logprob"]))[mask].mean())
    held = max(shaper.weight * (divergence - shaper.radius), 0.0)
    found: list[list[float]] = (gradient - held * mask / mask.sum()).tolist()
    return found


OURS: Mapping[str, Callable[[Input], Any]] = {
    "a-dlp": lambda x: _advantage(ADlp(advantage=Grpo(lone="reward")), x, {"lam": x["lam"]}),
    "dr-grpo": lambda x: _advantage(DrGrpo(), x),
    "drpo": ours_drpo,
    "grpo": lambda x: _advantage(Grpo(lone="reward"), x),
    "kimi-length": lambda x: _reward(KimiLength(), x, reward=x["reward"]),
    "l1": ours_l1,
    "laser": ours_laser,
    "laser-circles": lambda x: goes_in_circles(x["tokens"]),
    "laser-d": ours_bands,
    "laser-de": ours_bands,
    "rloo": lambda x: _advantage(Rloo(lone="reward"), x),
}
