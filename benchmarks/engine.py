"""How fast the local engine is beside what people use today, and whether saved tokens become saved time.

`python benchmarks/engine.py --json` solves the same problems of mixed length with the local engine, with transformers'
`generate` and, where `.venv-vllm` is installed (`make test-vllm` installs it), with vLLM's offline engine, one after
the other in every round. Then it runs every policy beside `full` and gives the conversion,
(1 - wall ratio) / (1 - spent ratio): 1 means that the share of time saved equals the share of tokens saved.

Beside the wall stand the same figures by processor time, which a busy machine changes less. `--profile` says instead
where the local engine's processor time goes, on one thread.
"""

import argparse
import asyncio
import collections
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from satisfice.catalog import canonical, parse_policies
from satisfice.core.engine import Request
from satisfice.core.problem import Problem
from satisfice.core.session import Policy, Session, solve
from satisfice.engines.local.engine import LocalEngine
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task

TASKS = ("chain-sum:easy", "chain-sum:medium", "chain-sum:hard")
POLICIES = "cap:96,first-cue,nothinking,deer,deer@pocket,es-cot"
LIMIT = 1024  # new tokens per chain
TEMPERATURE = 1.1  # of all engines, without top-p or top-k
VLLM = Path(__file__).parent.parent / ".venv-vllm" / "bin" / "python"


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--problems", type=int, default=512)
    parser.add_argument("--chains", type=int, default=64, help="how many advance at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--policies", default=POLICIES, help="whose conversion is measured; empty for none")
    parser.add_argument("--without", default="", help="leave out: generate, vllm")
    parser.add_argument("--profile", action="store_true", help="where the time of the local engine goes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = asyncio.run(profile(options) if options.profile else measure(options))
    if options.json:
        print(json.dumps(found, indent=2))
    elif options.profile:
        show_profile(found)
    else:
        show(found)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run; rounds are interleaved, so that a change of the machine meets all alike."""
    problems = mixed_problems(options.problems)
    rules = parse_policies(options.policies) if options.policies else []
    rates: dict[str, list[float]] = {"local": [], "generate": [], "vllm": []}
    frugal: dict[str, list[float]] = {name: [] for name in rates}  # tokens a processor second
    walls: dict[str, list[tuple[float, float]]] = {canonical(rule): [] for rule in rules}
    works: dict[str, list[tuple[float, float]]] = {name: [] for name in walls}
    engine = LocalEngine(options.model, batch=max(96, options.chains))
    vllm = None if "vllm" in options.without else Vllm.start(options.model, options.chains)
    generate = None if "generate" in options.without else Generate(options.model, options.chains)
    async with engine:
        [full] = parse_policies("full")
        await run(engine, full, problems[:32], options.chains)  # warm up
        fork_ms, cancel_steps = await moves(engine, problems[0])
        prompts = [engine.open(p.question, p.id).ids for p in problems]
        for _ in track(range(options.rounds), "rounds", console=Console(stderr=True)):
            wall, work, spent = await run(engine, full, problems, options.chains)
            rates["local"].append(spent / wall)
            frugal["local"].append(spent / work)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            for rule in rules:
                rule_wall, rule_work, rule_spent = await run(engine, rule, problems, options.chains)
                walls[canonical(rule)].append((rule_wall / wall, rule_spent / spent))
                works[canonical(rule)].append((rule_work / work, rule_spent / spent))
            for name, other in (("vllm", vllm), ("generate", generate)):
                if other is not None:
                    tokens, wall, work = other.solve(prompts)
                    rates[name].append(tokens / wall)
                    frugal[name].append(tokens / work)
    if vllm is not None:
        vllm.stop()
    median = {name: statistics.median(found) if found else None for name, found in rates.items()}
    ratios, ratios_cpu = (
        {name: [a / b for a, b in zip(of["local"], of[name], strict=True)] for name in ("generate", "vllm") if of[name]}
        for of in (rates, frugal)
    )
    return {
        "schema_version": 1,
        "problems": len(problems), "tasks": TASKS, "chains": options.chains, "rounds": options.rounds,
        **{f"{name}_tokens_per_s": median[name] for name in rates},
        "tokens_per_s_range": {name: spread(found) for name, found in rates.items() if found},
        "ratio_generate": statistics.median(ratios["generate"]) if "generate" in ratios else None,
        "ratio_vllm": statistics.median(ratios["vllm"]) if "vllm" in ratios else None,
        "ratio_range": {name: spread(found) for name, found in ratios.items()},
        "tokens_per_cpu_s": {name: statistics.median(found) for name, found in frugal.items() if found},
        "ratio_cpu": {name: statistics.median(found) for name, found in ratios_cpu.items()},
        "ratio_cpu_range": {name: spread(found) for name, found in ratios_cpu.items()},
        "conversion_cpu": {name: statistics.median(map(conversion, found)) for name, found in works.items()},
        "conversion": {name: statistics.median(map(conversion, found)) for name, found in walls.items()},
        "conversion_range": {name: spread(map(conversion, found)) for name, found in walls.items()},
        "saving": {name: 1 - statistics.median(spent for _, spent in found) for name, found in walls.items()},
        "fork_ms": fork_ms, "cancel_steps": cancel_steps, "peak_mb": peak,
        "machine": {
            "cores": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.machine(),
            "load_before": LOAD, **engine.describe(), "vllm": vllm.version if vllm is not None else None,
        },
    }  # fmt: skip


LOAD = os.getloadavg()[0]


def conversion(ratios: tuple[float, float]) -> float:
    """(1 - wall ratio) / (1 - spent ratio)."""
    wall, spent = ratios
    return (1 - wall) / (1 - spent) if spent != 1 else float("nan")


def spread(found: Iterable[float]) -> list[float]:
    """The least and the greatest."""
    values = list(found)
    return [min(values), max(values)]


def mixed_problems(count: int) -> list[Problem]:
    """Problems of three tiers in turn: short, middling and long chains side by side."""
    tiers = [load_task(name, limit=-(-count // len(TASKS))).problems for name in TASKS]
    return [problem for group in zip(*tiers, strict=True) for problem in group][:count]


async def run(
    engine: LocalEngine, policy: Policy, problems: Sequence[Problem], chains: int
) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and spent tokens of one policy over all problems, so many at once."""
    waiting, spent = iter(problems), 0

    async def worker() -> None:
        nonlocal spent
        for problem in waiting:
            solution = await solve(
                policy, Session(engine, problem, chain_limit=LIMIT, temperature=TEMPERATURE, top_p=1.0)
            )
            if solution.error:
                raise RuntimeError(solution.error)
            spent += solution.ledger.spent

    begin, worked = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(chains):
            group.create_task(worker())
    return time.perf_counter() - begin, time.process_time() - worked, spent


async def profile(options: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of the local engine by what they go into, and how full its steps are, policy by policy."""
    torch.set_num_threads(1)  # what other threads do is not told apart
    problems = mixed_problems(options.problems)
    engine, found = LocalEngine(options.model, batch=max(96, options.chains)), {}
    clock = Clock()
    loop, passes = engine._loop, engine._loop.passes
    for owner, method, name in (
        (loop, "_read_inbox", "messages, starting, waking"), (loop, "_admit", "messages, starting, waking"),
        (loop, "_deliver", "messages, starting, waking"), (loop, "_step", "keeping the batch"),
        (loop, "_sample", "tokens, signals and stops"), (passes, "step", "the model"), (passes, "read", "the model"),
    ):  # fmt: skip
        setattr(owner, method, clock.timed(getattr(owner, method), name))
    async with engine:
        for rule in parse_policies("full," + options.policies):
            await run(engine, rule, problems[:32], options.chains)  # warm up
            clock.seconds.clear()
            before = engine.counters
            wall, work, spent = await run(engine, rule, problems, options.chains)
            after = engine.counters
            clock.seconds["sessions and policies"] = work - sum(clock.seconds.values())
            steps = after.steps - before.steps
            found[canonical(rule)] = {
                "wall_s": wall, "cpu_s": work, "spent": spent, "steps": steps,
                "chains_per_step": (after.sampled - before.sampled) / steps,
                "read": after.prefilled + after.fed - before.prefilled - before.fed,
                "shares": {name: seconds / work for name, seconds in clock.seconds.items()},
            }  # fmt: skip
    return {"schema_version": 1, "problems": len(problems), "chains": options.chains, "profile": found,
            "machine": {"load_before": LOAD, **engine.describe()}}  # fmt: skip


class Clock:
    """Processor seconds of one thread by what they go into; inner parts are taken out of outer ones."""

    def __init__(self) -> None:
        self.seconds: collections.defaultdict[str, float] = collections.defaultdict(float)
        self._inner = [0.0]

    def timed(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The call, with its time booked under `name`."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            begin = time.thread_time()
            self._inner.append(0.0)
            try:
                return call(*args, **kwargs)
            finally:
                took = time.thread_time() - begin
                self.seconds[name] += took - self._inner.pop()
                self._inner[-1] += took

        return wrapped


async def moves(engine: LocalEngine, problem: Problem) -> tuple[float, int]:
    """Milliseconds from a fork to its first token (median), and the most steps the engine took after a cancellation."""
    chain = engine.open(problem.question, problem.id)
    await chain.sample(Request(limit=300, key=1))
    took = []
    for _ in range(50):
        begin = time.perf_counter()
        fork = chain.fork(len(chain.ids))
        await fork.sample(Request(limit=1, key=2, urgent=True))
        took.append(1000 * (time.perf_counter() - begin))
        fork.close()
    steps = []
    for key in range(20):
        fork = chain.fork(len(chain.ids))
        task = asyncio.create_task(fork.sample(Request(limit=500, key=key)))
        await asyncio.sleep(0.05)
        task.cancel()
        seen = engine.counters.steps
        await asyncio.gather(task, return_exceptions=True)
        steps.append(engine.counters.steps - seen)
        fork.close()
    chain.close()
    return statistics.median(took), max(steps)


class Generate:
    """transformers' `generate`, batches of equal size, padded on the left, in the order of the problems."""

    def __init__(self, model: str, batch: int) -> None:
        folder = model_folder(model)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        ).eval()
        self.batch = batch

    def solve(self, prompts: list[list[int]]) -> tuple[int, float, float]:
        """Tokens, wall seconds and processor seconds."""
        tokens, end = 0, self.model.generation_config.eos_token_id
        begin, worked = time.perf_counter(), time.process_time()
        for at in range(0, len(prompts), self.batch):
            rows = self.tokenizer.pad(
                {"input_ids": prompts[at : at + self.batch]}, padding_side="left", return_tensors="pt"
            )
            with torch.inference_mode():
                out = self.model.generate(
                    **rows, do_sample=True, temperature=TEMPERATURE, top_p=1.0, top_k=0, max_new_tokens=LIMIT
                )
            new = out[:, rows["input_ids"].shape[1] :]
            tokens += int(((new == end).cumsum(1) - (new == end).long() == 0).sum())  # up to the end of turn, that too
        return tokens, time.perf_counter() - begin, time.process_time() - worked


class Vllm:
    """vLLM's offline engine in a process of its own, because its environment is another."""

    def __init__(self, process: subprocess.Popen[str], version: str) -> None:
        self.process, self.version = process, version

    @classmethod
    def start(cls, model: str, chains: int) -> "Vllm | None":
        """Start it and wait until the model is loaded; None where vLLM is not installed."""
        if not VLLM.exists():
            return None
        command = [str(VLLM), str(Path(__file__).with_name("vllm_offline.py")), str(model_folder(model)), str(chains)]
        environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env=environment
        )
        return cls(process, cls._answer(process)["version"])

    def solve(self, prompts: list[list[int]]) -> tuple[int, float, float]:
        """Tokens, wall seconds and processor seconds, of the processes that vLLM starts too."""
        assert self.process.stdin is not None
        worked = cpu_seconds(self.process.pid)
        self.process.stdin.write(json.dumps({"prompts": prompts, "limit": LIMIT, "temperature": TEMPERATURE}) + "\n")
        self.process.stdin.flush()
        answer = self._answer(self.process)
        return int(answer["tokens"]), float(answer["wall_s"]), cpu_seconds(self.process.pid) - worked

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
        """The next line that is ours: vLLM may print others."""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"satisfice"'):
                return dict(json.loads(line)["satisfice"])
        raise RuntimeError("vLLM ended before it answered; its messages are above")

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def cpu_seconds(pid: int) -> float:
    """What a process and those below it have used so far; from Linux's own count."""
    folder = Path("/proc") / str(pid)
    user, system = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    below = [int(child) for task in folder.glob("task/*/children") for child in task.read_text().split()]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, below))


def show_profile(found: dict[str, Any]) -> None:
    """The profile as a table, for people."""
    names = list(dict.fromkeys(name for one in found["profile"].values() for name in one["shares"]))
    table = Table("policy", "processor s", "tokens", "steps", "chains per step", *names)
    for policy, one in found["profile"].items():
        table.add_row(
            policy, f"{one['cpu_s']:.2f}", f"{one['spent']:,}", str(one["steps"]), f"{one['chains_per_step']:.1f}",
            *(f"{one['shares'].get(name, 0):.0%}" for name in names),
        )  # fmt: skip
    Console().print(table)


def show(found: dict[str, Any]) -> None:
    """The figures as tables, for people."""
    console = Console()
    speed = Table("engine", "tokens/s (median)", "range", "local is so many times as fast")
    for name, (low, high) in found["tokens_per_s_range"].items():
        ratio = found.get(f"ratio_{name}")
        speed.add_row(
            name, f"{found[f'{name}_tokens_per_s']:,.0f}", f"{low:,.0f} to {high:,.0f}", f"{ratio:.2f}" if ratio else ""
        )
    console.print(speed)
    if found["conversion"]:
        rules = Table("rule", "tokens saved", "conversion (median)", "range")
        for name, value in found["conversion"].items():
            low, high = found["conversion_range"][name]
            rules.add_row(name, f"{found['saving'][name]:.0%}", f"{value:.2f}", f"{low:.2f} to {high:.2f}")
        console.print(rules)
    console.print(
        f"{found['problems']} problems, {found['chains']} chains at once, {found['rounds']} rounds. "
        f"Fork to first token {found['fork_ms']:.1f} ms; {found['cancel_steps']} steps after a cancellation; "
        f"{found['peak_mb']:.0f} MB at most."
    )


if __name__ == "__main__":
    main()
