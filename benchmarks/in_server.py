"""Whether rules inside vLLM turn saved tokens into saved time, and whether they stop chains where they should.

`python benchmarks/in_server.py` starts vLLM's server from `.venv-vllm` (`make test-vllm` installs it) with our plug-in
and sends it the same problems without a rule and under each rule, so many at once, the order turned round from round to
round and the prefix cache emptied between runs. It prints what was sampled, how many answers were right, the wall time,
and the conversion

    ((wall_full - wall_prompts) - (wall_rule - wall_prompts)) / (wall_full - wall_prompts) / (1 - spent ratio)

where wall_prompts is that of the prompts alone, with one sampled token. With `--greedy N` it also holds N greedy chains
under each rule against the local engine under the same rule, in float32: how many differ, and how near the two
likeliest tokens were where they first do.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from satisfice.answers import extract_strict
from satisfice.catalog import build, canonical, parse_policies
from satisfice.core.engine import Request, Signals
from satisfice.core.problem import Problem, Verdict
from satisfice.core.session import Session, solve
from satisfice.engines.local.engine import LocalEngine
from satisfice.models.resolve import model_folder
from satisfice.models.words import TokenizerWords
from satisfice.tasks import load_task
from satisfice.tasks.judge import Judge

ROOT = Path(__file__).parents[1]
TASKS = "chain-sum:easy,chain-sum:medium,chain-sum:hard"
RULES = "fixed-budget(tokens=96, at=step),first-cue,end-mass,eot-temperature,no-wait"
TIE = 1e-3  # nats between the two likeliest tokens within which engines may differ


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rules", default=RULES)
    parser.add_argument("--limit", type=int, default=1024, help="new tokens per chain")
    parser.add_argument("--greedy", type=int, default=0, help="greedy chains that are held against the local engine")
    parser.add_argument("--python", default=str(ROOT / ".venv-vllm" / "bin" / "python"), help="of vLLM's environment")
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=2))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run."""
    names, most = options.tasks.split(","), max(options.problems, options.greedy)
    tasks = [load_task(name, limit=-(-most // len(names))) for name in names]
    mixed = [problem for group in zip(*(task.problems for task in tasks), strict=True) for problem in group]
    problems = mixed[: options.problems]
    rules = [canonical(rule) for rule in parse_policies(options.rules)]
    found: dict[str, Any] = {"schema_version": 1, "problems": len(problems), "at_once": options.at_once, "rules": {}}
    local = LocalEngine(options.model)
    async with local, Judge(tasks) as judge, served(options) as server:
        await server.run(mixed[: options.at_once], "", options.limit)  # warm up
        runs: dict[str, list[tuple[float, int, float]]] = {name: [] for name in ("prompts", "full", *rules)}
        for number in range(options.rounds if options.problems else 0):
            for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
                wall, answers = await server.run(
                    problems, "" if name in ("full", "prompts") else name, 1 if name == "prompts" else options.limit
                )
                share = await rightness(judge, problems, answers, local) if name != "prompts" else float("nan")
                runs[name].append((wall, sum(answer.tokens for answer in answers), share))
        for name in ("full", *rules) if options.problems else ():
            found["rules"][name] = summary(runs, name)
        for name in rules if options.greedy else ():
            chains = mixed[: options.greedy]
            found.setdefault("greedy", {})[name] = await differences(server, local, name, chains, options.limit)
    return found


async def rightness(
    judge: Judge, problems: Sequence[Problem], answers: Sequence["Answer"], local: LocalEngine
) -> float:
    """The share of right answers."""
    read = [extract_strict(answer.text, local.profile.answer_form) for answer in answers]
    verdicts = [await judge.verdict(p, answer) for p, answer in zip(problems, read, strict=True)]
    return statistics.mean(verdict is Verdict.RIGHT for verdict in verdicts)


def summary(runs: dict[str, list[tuple[float, int, float]]], name: str) -> dict[str, Any]:
    """The medians over rounds of one rule beside `full`."""
    prompts = statistics.median(wall for wall, _, _ in runs["prompts"])
    rows = [
        {"wall_s": wall, "spent": spent, "accuracy": share, "saved_tokens": 1 - spent / full_spent,
         "saved_time": 1 - (wall - prompts) / (full - prompts)}
        for (wall, spent, share), (full, full_spent, _) in zip(runs[name], runs["full"], strict=True)
    ]  # fmt: skip
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    ratios = [row["saved_time"] / row["saved_tokens"] for row in rows if row["saved_tokens"]]
    return {
        **middle, "prompts_wall_s": prompts, "conversion": statistics.median(ratios) if ratios else None,
        "conversion_range": [min(ratios), max(ratios)] if ratios else None,
    }  # fmt: skip


class Answer:
    """What the server made of one prompt."""

    def __init__(self, row: dict[str, Any], end: str) -> None:
        [choice] = row["choices"]
        self.text = choice["text"].rpartition(end)[2]
        self.tokens = int(row["usage"]["completion_tokens"])
        self.ids: list[int] = choice.get("token_ids") or []


class Server:
    """vLLM's server, over its own interface."""

    def __init__(self, session: aiohttp.ClientSession, words: TokenizerWords, options: argparse.Namespace) -> None:
        self._session, self._options, self._words = session, options, words

    async def run(self, problems: Sequence[Problem], rule: str, limit: int, **more: Any) -> tuple[float, list[Answer]]:
        """Wall seconds and answers of some problems under a rule, so many at once."""
        async with self._session.post("/reset_prefix_cache") as response:
            response.raise_for_status()
        gate, begin = asyncio.Semaphore(self._options.at_once), time.perf_counter()

        async def one(problem: Problem) -> Answer:
            async with gate:
                return await self.ask(problem, rule, limit, **more)

        answers = await asyncio.gather(*map(one, problems))
        return time.perf_counter() - begin, list(answers)

    async def ask(self, problem: Problem, rule: str, limit: int, **more: Any) -> Answer:
        """One request."""
        profile = self._words.profile
        body = {
            "model": "m", "prompt": self._words.render(problem.question, profile), "max_tokens": limit, "seed": 0,
            "temperature": profile.temperature, "top_p": profile.top_p, "add_special_tokens": False,
            "return_token_ids": True, "skip_special_tokens": False,
            **({"vllm_xargs": {"satisfice": rule}} if rule else {}), **more,
        }  # fmt: skip
        async with self._session.post("/v1/completions", json=body) as response:
            row = await response.json()
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {row}")
        return Answer(row, profile.think_close)


@contextlib.asynccontextmanager
async def served(options: argparse.Namespace) -> AsyncGenerator[Server, None]:
    """Start vLLM's server with the plug-in; stop it at the end."""
    folder = model_folder(options.model)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        options.python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "m",
        "--dtype", "float32", "--enforce-eager", "--max-num-seqs", str(options.at_once), "--port", str(port),
        "--logits-processors", "satisfice.plugins.vllm:Stop", "--generation-config", "vllm",
    ]  # fmt: skip
    environment = {
        **os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_SERVER_DEV_MODE": "1", "VLLM_LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": str(ROOT / "src"),
    }  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=environment)
        try:
            async with aiohttp.ClientSession(
                f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(3600),
                connector=aiohttp.TCPConnector(force_close=True, limit=0),  # it hangs up on whoever is idle for 5 s
            ) as session:  # fmt: skip
                while not await healthy(session):
                    if process.returncode is not None:
                        log.seek(0)
                        raise RuntimeError(f"vLLM did not come up:\n{log.read().decode()[-3000:]}")
                    await asyncio.sleep(1)
                yield Server(session, TokenizerWords(folder), options)
        except aiohttp.ClientError as error:
            log.seek(0)
            raise RuntimeError(f"vLLM left: {error}. Its log ends:\n{log.read().decode()[-3000:]}") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def healthy(session: aiohttp.ClientSession) -> bool:
    """Whether the server is up."""
    try:
        async with session.get("/health") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def differences(
    server: Server, local: LocalEngine, rule: str, problems: Sequence[Problem], limit: int
) -> dict[str, Any]:
    """How many greedy chains inside the server differ from the local engine's, and how near the tokens were there."""
    _, served = await server.run(problems, rule, limit, temperature=0.0, top_p=1.0)
    gate = asyncio.Semaphore(64)

    async def alone(problem: Problem) -> list[int]:
        async with gate:
            solution = await solve(build(rule), Session(local, problem, temperature=0.0, top_p=1.0, chain_limit=limit))
        if solution.error:
            raise RuntimeError(solution.error)
        return [token for span in solution.spans if span.kind != "prompt" for token in span.ids]

    chains = await asyncio.gather(*map(alone, problems))
    gaps = []
    for problem, answer, chain in zip(problems, served, chains, strict=True):
        mine, theirs = without_end(chain, local), without_end(answer.ids, local)
        if mine != theirs:
            pairs = enumerate(zip(mine, theirs, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(mine), len(theirs)))
            gaps.append(await gap(local, local.open(problem.question, problem.id).ids + mine[:at]))
    return {
        "chains": len(chains),
        "differ": len(gaps),
        "beyond_a_tie": sum(g > TIE for g in gaps),
        "gaps": sorted(gaps),
    }


def without_end(ids: Sequence[int], local: LocalEngine) -> list[int]:
    """The tokens before the end of the turn."""
    return [token for token in ids if token not in local.end_ids]


async def gap(local: LocalEngine, ids: list[int]) -> float:
    """Nats between the two likeliest tokens after some tokens."""
    sequence = local.open_prompt(ids, "gap")
    got = await sequence.sample(Request(limit=1, temperature=0.0, signals=Signals(top_logprobs=2)))
    sequence.close()
    return float(got.top_logprobs[0, 0] - got.top_logprobs[0, 1]) if got.top_logprobs is not None else float("nan")


if __name__ == "__main__":
    main()
