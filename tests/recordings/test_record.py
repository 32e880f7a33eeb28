"""What is recorded once is what a live run would see: the same samples, checkpoint by checkpoint, after a kill too."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from satisfice.catalog import parse_policies
from satisfice.cli.main import app
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.errors import BadInput, NotRecorded, Unfit, UnknownName
from satisfice.core.problem import Problem, Verdict
from satisfice.core.session import Session, solve
from satisfice.engines.scripted import HIDDEN, SCRIPTED, ScriptedEngine
from satisfice.measure.plan import BenchPlan
from satisfice.measure.replay import RecordedVerdicts, replay, replay_plan
from satisfice.measure.run import answer, run_bench
from satisfice.methods.stopping.artefact import Artefact, Network, load_artefact
from satisfice.recordings.checkpoints import places
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording, read_recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import Task

OBSERVERS = (
    "full,cap:0,cap:8,cap:16,first-cue,nothinking,deer,deer(threshold=0.5),deer(mean=min),es-cot(d_min=1),"
    "es-cot(d_min=1, trigger=cue),deer-pro(threshold=0.85),deer-pro,answer-consistency(k=2),"
    "entropy-reduction(h_stop=0.3),loop-guard(every=4, times=2, least=4),first-try(first=2),"
    "dynasor-cot(chunk=8, k=2, greedy=true),dynasor-cot(chunk=4, k=2, greedy=true, overlap=false, reuse_answer=false),"
    "concise,s1-budget-forcing(tokens=16, extensions=0)"
)
UNTOLD = ("wall_s", "prefilled")
"""What a replay cannot know: time, and what a busy engine computed again."""


class Compare:
    """Judges by comparing text."""

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        return Verdict.RIGHT if answer == problem.answer else Verdict.WRONG

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return None


CHAINS = (
    "1+1=2 so 2\nWait, 2-1=1 yes\nWait, once more so 2</think>2",
    "1+1=3 so 3\nWait, 3-1=2 no, so 2\nWait, yes so 2</think>2",
    "1+1=3 so 3\nWait, it is so\n</think>3",
    "never mind\n" * 30,
    "it ends in the middle",
)


def stated(thought: str) -> str:
    """The answer that was stated last."""
    return thought.rpartition("so ")[2][:1].strip() or "?" if "so " in thought else "?"


class Chooser:
    """Which chain a problem gets depends on its key; forced answers are the last one stated, more or less surely."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s

    def __call__(self, so_far, request):
        time.sleep(self.pause_s)
        chains = (*CHAINS[request.key % 5 :], *CHAINS)
        for chain in chains:
            if chain.startswith(so_far):
                return chain[len(so_far) :] or "<|end|>", -0.01 * (1 + len(so_far) % 7)
        thought, _, said = so_far.partition("</think>")
        return "<|end|>" if said.strip() else stated(thought), -0.04 * (1 + (len(thought) + len(said)) % 5)


TALKS = replace(
    SCRIPTED, candidate_answer=r"so \d", rules={
        "deer-pro": {"inducers": ("</think>", "</think> ")},
        "concise": {"sure_words": ("</think>",), "doubting_words": ("Wait",), "assurances": ()},
    },
)  # fmt: skip


def scripted(pause_s: float = 0.0) -> ScriptedEngine:
    engine = ScriptedEngine(Chooser(pause_s), profile=TALKS)
    for text in (*CHAINS, "<think>?0123456789 ()+"):  # so that two engines number tokens alike
        engine.encode(text)
    return engine


def sums(n: int = 12) -> Task:
    problems = tuple(Problem(id=f"p{i}", task="sums@1", question=f"1+1 ({i})", answer="2") for i in range(n))
    return Task(name="sums@1", split="eval", problems=problems, _score=lambda p, a: Verdict.UNKNOWN)


def learned(folder: Path, *, width: int, short: int = 8) -> str:
    """Rules with artefacts that have learned nothing, but look closely: each state leads to another decision."""
    rng, specs = np.random.default_rng(3), []
    scores = {"wrong": np.linspace(0, 0.6, 40), "right": np.linspace(0.4, 1, 40)}
    for rule, outputs, fields in (
        ("lynx", 1, "delta=0.4"), ("knowing-before-saying", 1, f"short={short}"), ("specexit", 3, "confidence=0.3"),
    ):  # fmt: skip
        layer = rng.normal(size=(width, outputs))
        network = Network(mean=np.zeros(width), scale=np.ones(width), weights=(layer,), biases=(np.ones(outputs),))
        path = folder / f"{rule}.json"
        Artefact(rule=rule, network=network, layers=(1,), arrays=scores if rule == "lynx" else {}).save(path)
        specs.append(f"{rule}(artefact={path}, {fields})")
    return ",".join(specs)


def plan_of(task: Task, **rest: Any) -> RecordPlan:
    given: dict[str, Any] = {"at": ("cue", "step"), "every": 4, "max_tokens": 80} | rest
    return RecordPlan(model="scripted", tasks=(task,), **given)


def recorded(plan: RecordPlan, out: Path, engine=None) -> Path:
    asyncio.run(record(plan, engine or scripted(), out, judge=Compare()))
    return out


def samples_of(plan: BenchPlan, engine, judge) -> list[dict[str, Any]]:
    async def go():
        async with engine:
            return await asyncio.gather(*(answer(job, plan, engine, judge) for job in plan.jobs()))

    rows = json.loads(json.dumps(asyncio.run(go())))
    for row in rows:
        row["log"].sort(key=lambda event: event["chain"])  # how chains of one session interleave is up to the engine
    return [{name: value for name, value in row.items() if name not in UNTOLD} for row in rows]


def both(folder: Path, task: Task, live, policies: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The samples of a live run and those of a replay."""
    recording = Recording(folder)
    plan = replay_plan(recording, policies)
    there = BenchPlan(**{**vars(plan), "tasks": (task,)})
    return samples_of(there, live, Compare()), samples_of(plan, ReplayEngine(recording), RecordedVerdicts(recording))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return recorded(plan_of(sums(), seeds=(0, 1), chains=3), tmp_path_factory.mktemp("recording") / "r")


@pytest.fixture(scope="module")
def rich(tmp_path_factory) -> Path:
    """All that rules which only observe could ask."""
    asks = ("deer-pro.inducers", "concise.ask_certainty", "s1-budget-forcing.close_at_budget")
    plan = plan_of(sums(), seeds=(0, 1), asks=asks, top_logprobs=20, hidden=(0, 1), hidden_first=1_000)
    return recorded(plan, tmp_path_factory.mktemp("rich") / "r")


def test_replayed_samples_are_the_live_ones(rich, tmp_path):
    live, replayed = both(rich, sums(), scripted(), f"{OBSERVERS},{learned(tmp_path, width=HIDDEN)}")
    assert live == replayed
    assert not any(row["error"] for row in replayed)
    assert {row["stop_reason"] for row in live} == {"model", "rule", "limit", "turn"}
    looks = [
        (row["policy"].partition("(")[0], event["data"]["stop"])
        for row in live
        for event in row["log"]
        if event["kind"] == "look"
    ]
    looking = {"deer", "deer-pro", "es-cot", "answer-consistency", "entropy-reduction", "concise", "dynasor-cot",
               "first-try", "lynx", "specexit", "knowing-before-saying"}  # fmt: skip
    assert {(rule, stop) for rule in looking for stop in (True, False)} <= set(looks), (
        "each stops here and goes on there"
    )


def test_what_was_not_kept_of_the_states_is_refused(folder, rich, tmp_path):
    specs = learned(tmp_path, width=HIDDEN)
    with pytest.raises(NotRecorded, match="needs hidden states, which the replay engine does not provide"):
        asyncio.run(replay(replay_plan(Recording(folder), specs), ReplayEngine(folder), tmp_path / "run"))
    few = recorded(plan_of(sums(3), hidden=(1,), hidden_first=2), tmp_path / "few")
    live, replayed = both(few, sums(3), scripted(), specs.partition("),")[0] + ")")
    assert live == replayed, "lynx reads at cues only"
    spec = specs.rpartition("),")[2]
    with pytest.raises(NotRecorded, match="the hidden state at token 2 of its thinking was not kept"):
        asyncio.run(replay(replay_plan(Recording(few), spec), ReplayEngine(few), tmp_path / "run"))
    Artefact(rule="lynx", network=load_artefact(str(tmp_path / "lynx.json"), "lynx").network, layers=(0,), arrays={
        "wrong": np.zeros(9), "right": np.ones(9)}).save(tmp_path / "other.json")  # fmt: skip
    other = f"lynx(artefact={tmp_path / 'other.json'}, delta=0.4)"
    with pytest.raises(NotRecorded, match=r"no hidden states of layer 0, only of \[1\]"):
        asyncio.run(replay(replay_plan(Recording(few), other), ReplayEngine(few), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_states_are_those_of_a_chain_that_asks_for_them(rich):
    seen = {}

    async def go(chain):
        engine = scripted()
        async with engine, Session(engine, chain.problem, seed=chain.seed, chain_limit=80) as session:
            again = session.chain()
            await again.think(signals=Signals(hidden=(0, 1)))
            seen.update(again.last.hidden)

    for chain in list(read_recording(rich))[:6]:
        if chain.name == "0" and chain.ended == "model":
            asyncio.run(go(chain))
            for layer in (0, 1):
                np.testing.assert_array_equal(chain.hidden[layer][: len(seen[layer])], seen[layer])
                for point in chain.checkpoints:
                    width = len(scripted().encode(point.cue)) if point.cue else 0
                    np.testing.assert_array_equal(
                        point.hidden[layer], chain.hidden[layer][[point.at, point.at + width]]
                    )
    assert seen


def test_policies_over_several_chains_are_replayed_from_recorded_chains(folder):
    policies = (
        "self-consistency(n=3),first-finish(n=3),first-finish(n=3, k=2, stop=deer),self-consistency(n=2, stop=cap:8)"
    )
    live, replayed = both(folder, sums(), scripted(), policies)
    assert live == replayed
    assert any(row["dropped"] for row in live)


def test_policies_that_weigh_and_drop_chains_by_their_signals_are_replayed(tmp_path):
    plan = plan_of(sums(4), chains=4, at=("cue",), every=None, top_logprobs=20, hidden=(0, 1, 2), hidden_first=1_000)
    live, replayed = both(
        recorded(plan, tmp_path / "r"), sums(4), scripted(),
        "adaptive-consistency(n=4),deepconf(n=4),deepconf(n=4, warmup=2),deepconf(n=3, stop=deer),nothinking-vote(n=4),"
        "st-bon(n=3)",
    )  # fmt: skip
    assert live == replayed
    assert not any(row["error"] for row in live)


def test_a_run_on_a_recording_writes_what_bench_writes_but_for_times(folder, tmp_path):
    recording = Recording(folder)
    results = asyncio.run(replay(replay_plan(recording, "full,first-cue"), ReplayEngine(recording), tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results
    assert results["config"]["recording"] == str(folder)
    full, rule = results["rows"]
    assert (full["n"], full["samples"], full["wall_s"], full["p95_s"]) == (12, 24, None, None)
    assert rule["saving"] > 0
    again = asyncio.run(replay(replay_plan(recording, "full,first-cue"), ReplayEngine(recording), tmp_path / "run"))
    assert again["rows"] == results["rows"]


@pytest.mark.parametrize(
    ("policies", "lack"),
    [
        ("full,cap:7", r"fixed-budget\(tokens=7\): nothing was asked at token 7 of its thinking"),
        ("self-consistency(n=4)", "it holds no chain of this seed, chain number and problem"),
        ("deer(trial_tokens=40)", None),
    ],
)
def test_what_cannot_be_replayed_exactly_is_refused_before_anything_is_written(folder, tmp_path, policies, lack):
    recording = Recording(folder)
    run = replay(replay_plan(recording, policies), ReplayEngine(recording), tmp_path / "run")
    if lack is None:  # longer than recorded replies may be, yet all of them ended before that
        assert asyncio.run(run)["rows"][0]["error_rate"] == 0
        return
    with pytest.raises(NotRecorded, match=lack) as refused:
        asyncio.run(run)
    assert str(refused.value).count("Record what is lacking, or run this policy live") == 1
    assert not (tmp_path / "run").exists()


def test_a_policy_that_changes_sampling_is_refused(folder):
    class Biased:
        card = None

        async def __call__(self, session: Session) -> Chain:
            chain = session.chain()
            await chain.think(bias={1: 5.0})
            return await chain.finish()

    engine = ReplayEngine(folder)
    solution = asyncio.run(solve(Biased(), Session(engine, sums().problems[0], chain_limit=80)))  # type: ignore[arg-type]
    assert "cannot be changed by a bias or a sampler" in solution.error
    hotter = asyncio.run(solve(parse_policies("full")[0], Session(engine, sums().problems[0], temperature=0.9)))
    assert "recorded at temperature 0.6 and top_p 1, not at 0.9 and 1" in hotter.error


def test_seeds_and_tasks_that_were_not_recorded_are_named(folder):
    recording = Recording(folder)
    with pytest.raises(BadInput, match="seeds: 7 was not recorded"):
        replay_plan(recording, "full", seeds=(7,))
    with pytest.raises(BadInput, match="holds 12 problems of sums@1"):
        replay_plan(recording, "full", limit=13)
    with pytest.raises(UnknownName, match="deer"):
        replay_plan(recording, "deeer")


def test_chains_are_read_with_text_signals_checkpoints_and_verdicts(folder):
    chains = list(read_recording(folder))
    assert len(chains) == 12 * 2 * 3
    assert {chain.ended for chain in chains} == {"model", "limit", "turn"}
    for chain in chains:
        assert "".join(chain.pieces) == chain.text
        assert any(whole.startswith(chain.text.removesuffix("<|end|>")) for whole in CHAINS)
        assert chain.tokens.logprobs is not None
        assert len(chain.tokens.logprobs) == len(chain.tokens) == len(chain.pieces)
        if chain.ended == "model":
            assert chain.pieces[chain.thinking] == "</think>"
            assert chain.answer == chain.text.partition("</think>")[2].removesuffix("<|end|>")
        assert chain.verdict is (Verdict.RIGHT if chain.answer == "2" else Verdict.WRONG)
        for point in chain.checkpoints:
            before = "".join(chain.pieces[: point.at])
            if "cue" in point.why:
                assert "".join(chain.pieces[point.at :]).startswith(point.cue)
            if "step" in point.why:
                assert before.endswith("\n")
            trial, visible = point.replies["trial"], point.replies["answer"]
            told = stated(before)
            assert (trial.answer, visible.answer, trial.complete) == (told, told, True)
            assert trial.verdict is (Verdict.RIGHT if told == "2" else Verdict.WRONG)
            assert ("skip" in point.replies) == (point.at == 0)
        assert [point.at for point in chain.checkpoints] == sorted({point.at for point in chain.checkpoints})


def test_other_texts_can_be_asked_too(tmp_path):
    out = recorded(plan_of(sums(2), asks=("</think>so ", "deer-pro.inducers")), tmp_path / "r")
    with pytest.raises(UnknownName, match=r"unknown word of deer-pro 'inducer'\. Did you mean 'inducers'"):
        recorded(plan_of(sums(2), asks=("deer-pro.inducer",)), tmp_path / "s")
    with pytest.raises(BadInput, match="'' is no text"):
        recorded(plan_of(sums(2), asks=("",)), tmp_path / "t")
    for chain in read_recording(out):
        for point in chain.checkpoints:
            assert point.replies["</think>so "].tokens
    names = [ask.name for ask in Recording(out).asks]
    assert names[:3] == ["answer", "skip", "trial"]
    assert len(names) == len(set(names))


# Kills, other settings, broken files


def contents(folder: Path) -> dict[Any, Any]:
    """Everything that a recording says of each chain, wherever in the files it stands."""
    recording = Recording(folder)
    found = {}
    for key, row in recording.rows.items():
        replies = [(at, ask.name, told, said.records.tolist()) for at, ask, told, said in recording.replies(row)]
        found[key] = (
            row.ended, row.thinking, row.points, row.verdicts, recording.states(row).tolist(),
            recording.tokens(row).records.tolist(), replies,
        )  # fmt: skip
    return found


def test_a_torn_recording_goes_on_without_loss_or_doubles(folder, tmp_path):
    plan = plan_of(sums(), seeds=(0, 1), chains=3)
    torn = recorded(plan, tmp_path / "torn")
    rows = (torn / "chains.jsonl").read_bytes()
    whole = rows[: rows.index(b"\n", len(rows) // 2) + 1]
    (torn / "chains.jsonl").write_bytes(rows[: len(whole) + 40])  # half a row, and tokens that no row speaks of
    with (torn / "tokens.bin").open("ab") as file:
        file.write(b"torn")
    recorded(plan, torn)
    assert (torn / "chains.jsonl").read_bytes().startswith(whole)
    assert contents(torn) == contents(folder)
    assert (torn / "tokens.bin").stat().st_size == (folder / "tokens.bin").stat().st_size


def test_another_config_or_another_tokenizer_is_refused(tmp_path):
    out = recorded(plan_of(sums(2)), tmp_path / "r")
    before = (out / "chains.jsonl").read_bytes()
    with pytest.raises(BadInput, match=r"every: 4 there, 8 asked"):
        recorded(plan_of(sums(2), every=8), out)
    (out / "chains.jsonl").write_bytes(before[: before.index(b"\n") + 1])
    other = ScriptedEngine(Chooser())
    other.encode("other words first")
    with pytest.raises(BadInput, match="this is another tokenizer"):
        recorded(plan_of(sums(2)), out, other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(BadInput, match=r"holds no recording \(thesis.txt\)"):
        recorded(plan_of(sums(2)), tmp_path / "mine")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"at": ("cues",)}, "Did you mean 'cue'"),
        ({"every": 0}, r"every must be a whole number \(at least 1\)"),
        ({"seeds": ()}, "seeds must be"),
        ({"chains": 0}, r"chains must be a whole number \(at least 1\)"),
    ],
)
def test_values_out_of_range_are_refused(values, says):
    with pytest.raises(BadInput, match=says):
        plan_of(sums(1), **values)


def test_what_the_engine_cannot_give_is_refused(tmp_path):
    from satisfice.core.card import Need

    engine = ScriptedEngine(Chooser(), provides=frozenset(Need) - {Need.HIDDEN})
    with pytest.raises(Unfit, match="hidden, which the scripted engine"):
        recorded(plan_of(sums(1), hidden=(0,)), tmp_path / "r", engine)
    assert not (tmp_path / "r").exists()


ROW_FIELDS = ("task", "problem", "seed", "chain", "ended", "thinking", "begin", "tokens", "checkpoints", "verdicts",
              "hidden", "pieces", "encodings")  # fmt: skip
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 1 << 70), st.text(max_size=5), st.floats(), st.lists(st.integers(-3, 99)),
    st.dictionaries(st.text(max_size=3), st.integers(-3, 300), max_size=3), st.lists(st.lists(st.integers())),
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return recorded(plan_of(sums(3)), tmp_path_factory.mktemp("hostile") / "r")


@settings(max_examples=120, deadline=None)
@given(field=st.sampled_from(ROW_FIELDS), junk=JUNK, at=st.integers(0, 2))
def test_a_hostile_row_is_refused_or_harmless(small, field, junk, at):
    whole = (small / "chains.jsonl").read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    if field == "checkpoints" and isinstance(junk, int):
        rows[at]["checkpoints"][0]["at"] = junk
    else:
        rows[at][field] = junk
    said = ""
    try:
        (small / "chains.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert len(list(read_recording(small))) == 3
    except BadInput as error:
        said = str(error)
    finally:
        (small / "chains.jsonl").write_text(whole)
    assert not said or "chains.jsonl" in said or "tokens.bin" in said


@pytest.mark.parametrize("name", ["recording.json", "problems.jsonl", "chains.jsonl", "tokens.bin"])
def test_broken_files_are_named(tmp_path, name):
    out = recorded(plan_of(sums(2)), tmp_path / "r")
    size = (out / name).stat().st_size
    for content in (b"\xff" * (size - 1) + b"\n", b"[1]\n", b"{}\n", b"", None):
        if content is None:
            (out / name).unlink()
        else:
            (out / name).write_bytes(content)
        if (name, content) == ("chains.jsonl", b""):
            assert list(read_recording(out)) == []
        else:
            with pytest.raises(BadInput, match=r"r/|no recording"):
                list(read_recording(out))


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_record
from satisfice.recordings import record as module
module.FLUSH_S = 0.05
plan = test_record.plan_of(test_record.sums(), seeds=(0, 1), chains=3, concurrency=3)
asyncio.run(module.record(plan, test_record.scripted(0.0005), Path(sys.argv[1]), judge=test_record.Compare()))
"""


@pytest.mark.slow
def test_kill_9_at_three_points_then_the_same_recording(folder, tmp_path):
    out = tmp_path / "r"
    command = [sys.executable, "-c", KILLED, str(out), os.path.dirname(__file__)]
    for rows in (1, 20, 50):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while _lines(out) < rows and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, timeout=300)
    assert contents(out) == contents(folder)


def _lines(out):
    try:
        return (out / "chains.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


# Where chains are asked


class Pauses:
    """Notes where a chain pauses."""

    def __init__(self, texts: tuple[str, ...], *, after: bool) -> None:
        self.texts, self.after = texts, after
        self.at: list[int] = []

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        while await chain.think(until=self.texts):
            if self.after:
                await chain.think(limit=0)
            self.at.append(len(chain))
        return await chain.finish()


@given(st.text("aW\nit.", max_size=40))
@settings(max_examples=60, deadline=None)
def test_places_are_where_a_chain_pauses(text):
    engine = ScriptedEngine(text + "</think>x")
    cues, steps = Pauses(("Wait", "it", "t."), after=False), Pauses(("\n.",), after=True)
    for policy in (cues, steps):
        asyncio.run(solve(policy, Session(engine, sums().problems[0])))  # type: ignore[arg-type]
    found = places(engine.encode(text), engine.decode, cues=cues.texts, step="\n.", every=None, limit=False)
    assert [place.at for place in found if "cue" in place.why] == cues.at
    assert [place.at for place in found if "step" in place.why] == steps.at


# On a machine without torch

BLOCKED = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "tokenizers", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
sys.meta_path.insert(0, Absent())
from satisfice.cli.main import main
sys.argv = ["satisfice", "replay", *sys.argv[1:]]
main()
"""


def test_replay_needs_no_torch(folder, tmp_path):
    command = [sys.executable, "-c", BLOCKED, str(folder), "--policies", "full,deer", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "12 problems" in done.stdout
    assert (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize(
    ("model", "rule"), [("scripted", "deer"), ("pocket", "deer(threshold=0.97, reuse_answer=true)")]
)
def test_replay_takes_deer_as_a_study_recommends_it_for_the_recorded_model(folder, tmp_path, model, rule):
    named = tmp_path / "named"
    shutil.copytree(folder, named)
    for path in named.glob("*.json"):
        path.write_text(path.read_text().replace('"model": "scripted"', f'"model": "{model}"'))
    done = CliRunner().invoke(app, ["replay", str(named), "--out", str(tmp_path / "run"), "--limit", "3"])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [row["policy"] for row in rows] == ["full", "first-cue", rule]


# On a real model


@pytest.mark.slow
def test_replay_equals_live_on_the_pocket_reasoner(tmp_path):
    import torch

    from satisfice.engines.local.engine import LocalEngine
    from satisfice.tasks import load_task

    torch.set_num_threads(1)
    task = load_task("chain-sum:hard", limit=3)
    plan = RecordPlan(
        model="pocket", tasks=(task,), seeds=(0,), chains=2, at=("cue", "step"), every=32, hidden=(1, -1),
        hidden_first=1_000, top_logprobs=20, asks=("deer-pro.inducers", "concise.ask_certainty"), concurrency=10,
    )  # fmt: skip
    out = recorded(plan, tmp_path / "r", LocalEngine("pocket", rows=96))
    live, replayed = both(
        out, task, LocalEngine("pocket"),
        "full,cap:64,cap:96,first-cue,nothinking,deer,deer(threshold=0.5),deer(threshold=0.99),deer-pro,es-cot(d_min=1),"
        "es-cot(d_min=2),es-cot(d_min=1, trigger=cue),answer-consistency(k=2),entropy-reduction,first-try(first=1),"
        "concise,dynasor-cot(chunk=32, k=2, greedy=true),loop-guard,first-finish(n=2),"
        "self-consistency(n=2, stop=deer),"
        + learned(tmp_path, width=192, short=32),
    )  # fmt: skip
    different = {
        (one["policy"], name)
        for one, other in zip(live, replayed, strict=True)
        for name in one
        if one[name] != other[name]
    }
    assert not different
    assert not any(row["error"] for row in live)
    assert {row["stop_reason"] for row in live} >= {"model", "rule"}
    check_states(out, LocalEngine("pocket"))


def check_states(folder: Path, live) -> None:
    """The states at checkpoints are those that a chain asked for them gives."""
    chain = next(chain for chain in read_recording(folder) if chain.name == "0")
    seen: dict[int, np.ndarray[Any, Any]] = {}

    async def go() -> None:
        async with live, Session(live, chain.problem, seed=chain.seed) as session:
            again = session.chain()
            await again.think(signals=Signals(hidden=(1, -1), logprobs=True, top_logprobs=3))
            assert again.last is not None
            assert again.last.ids == tuple(chain.tokens.ids[: len(again.last.ids)].tolist())
            assert chain.tokens.logprobs is not None
            assert again.last.logprobs is not None
            assert (again.last.logprobs == chain.tokens.logprobs[: len(again.last.ids)]).all()
            seen.update(again.last.hidden)

    asyncio.run(go())
    cues = [point for point in chain.checkpoints if point.cue]
    assert cues
    for point in chain.checkpoints:
        width = 0 if not point.cue else next(
            n for n in range(1, 9) if point.cue in "".join(chain.pieces[point.at : point.at + n])
        )  # fmt: skip
        for layer in (1, -1):
            assert (point.hidden[layer][0] == seen[layer][point.at]).all()
            assert (point.hidden[layer][1] == seen[layer][point.at + width]).all()


def test_a_live_bench_is_unchanged_by_what_replay_added(tmp_path):
    """A policy's own fault still fails its problem alone."""
    task = sums(2)
    plan = BenchPlan(models=("scripted",), tasks=(task,), policies={"full": parse_policies("full")[0]})
    engine = ScriptedEngine(Chooser(), fail_at=60)
    results = asyncio.run(run_bench(plan, engine, tmp_path / "run", judge=Compare()))
    assert 0 < results["rows"][0]["error_rate"] <= 1


def test_a_chain_that_counts_may_pause_among_the_tokens_that_end_its_thinking() -> None:
    def at(thinking: int, close: int) -> list[int]:
        found = places([7] * thinking, str, cues=(), step="", every=4, limit=False, close=close)
        return [place.at for place in found]

    assert at(7, 1) == [0, 4]  # one token: the next has ended it
    assert at(7, 2) == at(8, 0) == [0, 4, 8]
    assert at(5, 4) == [0, 4, 8]
    assert at(5, 3) == [0, 4]
