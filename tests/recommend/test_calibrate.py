"""What rules learn from recorded chains: planted signals are found, parts stay apart, promises are counted right."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.report.conftest import Compare
from typer.testing import CliRunner

from satisfice.catalog import build
from satisfice.cli.main import app
from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput, SatisficeError, UnknownName
from satisfice.core.problem import Problem, Verdict
from satisfice.core.recorded import RecordedChain
from satisfice.engines.scripted import HIDDEN, SCRIPTED, ScriptedEngine, ScriptedSequence
from satisfice.measure.promises import upper_bound
from satisfice.methods.stopping.artefact import load_artefact
from satisfice.methods.stopping.first_try import repairs
from satisfice.methods.stopping.learning import LEAST, part_of, probability, states
from satisfice.methods.stopping.lynx import conformal, exits
from satisfice.methods.stopping.specexit import exit_targets, signals_of
from satisfice.recommend.calibrate import ByQuestion, calibrate
from satisfice.recommend.calibrate_threshold import effects, promise_threshold
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording
from satisfice.tasks import Split, Task

N, M = 600, 200  # problems
Pair = tuple[Recording, Recording]


class Judge(Compare):
    """Judges by comparing text, as a context manager."""

    async def __aenter__(self) -> "Judge":
        return self

    async def __aexit__(self, *error: Any) -> None:
        return None


class Tales:
    """An answer stated three times, with cues between; to hard questions it is often wrong at first and mended."""

    def __init__(self, task: Task) -> None:
        self.of = {random_key(0, p.id, "0"): self.tale(p) for p in task.problems}

    @staticmethod
    def tale(problem: Problem) -> str:
        dice = random.Random(problem.id)
        first = "3" if dice.random() < (0.7 if "hard" in problem.question else 0.15) else "2"
        mended = dice.random() < (0.6 if "hard" in problem.question else 0.1)
        second = "2" if mended else first
        return f"think so {first}\nWait, so {second}\nWait, so {second}</think>{second}"

    def __call__(self, so_far: str, request: Any) -> Any:
        whole = self.of.get(request.key, "?")
        if whole.startswith(so_far):
            return whole[len(so_far) :] or "<|end|>"
        thought, _, said = so_far.partition("</think>")
        stated = thought.rpartition("so ")[2][:1] or "?"
        return "<|end|>" if said else (stated, -0.02 * (1 + request.key % 3) - 0.4 * (stated != "2"))


def telling(self: ScriptedSequence, layer: int, begin: int, count: int) -> Any:
    """States with a signal: in layer 1 the first number says, with noise, whether the last statement is right; before
    there is one the second says whether the question is easy."""
    question = self._engine.decode(self.ids[: self._prompt])
    found = np.zeros((count, HIDDEN), dtype=np.float32)
    for i in range(count):
        text = self._engine.decode(self.ids[self._prompt : begin + i])
        found[i] = np.random.default_rng(random_key(layer, question, text)).normal(size=HIDDEN)
        if layer == 1:
            found[i, 0] += {"2": 1.5, "3": -1.5}.get(text.rpartition("so ")[2][:1], 0)
            found[i, 1] += 1 if "easy" in question else -1
    return found


def sums(n: int, split: Split) -> Task:
    mark = "" if split == "calibration" else f"{split} "  # no question is in two splits
    problems = tuple(
        Problem(id=f"{split}{i}", task="sums@1", question=f"1+1 {'hard' if i % 2 else 'easy'} ({mark}{i})", answer="2")
        for i in range(n)
    )
    return Task(name="sums@1", split=split, problems=problems, _score=lambda p, a: Verdict.UNKNOWN)


def make(folder: Path, split: Split, n: int, **fields: Any) -> Recording:
    task = sums(n, split)
    given: dict[str, Any] = {"at": ("cue", "step"), "hidden": (0, 1), "hidden_first": 1, "max_tokens": 80} | fields
    plan = RecordPlan(model="scripted", tasks=(task,), split=split, **given)
    engine = ScriptedEngine(Tales(task), profile=replace(SCRIPTED, candidate_answer=r"so \d"))
    asyncio.run(record(plan, engine, folder, judge=Judge()))
    return Recording(folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A recording of the calibration split and one of the evaluation split, with states that tell something."""
    where = tmp_path_factory.mktemp("recordings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptedSequence, "_states", telling)
        yield make(where / "calibration", "calibration", N), make(where / "eval", "eval", M)


def looks(recording: Recording, parts: set[str]) -> tuple[list[Any], list[bool]]:
    """States at cues, and whether the answer would be right, of the problems of some parts."""
    x, y = [], []
    for row in recording.rows.values():
        chain = recording.chain(row)
        for point in chain.checkpoints:
            if point.cue and part_of(chain.problem.id) in parts:
                x.append(states(point, (0, 1), 1))
                y.append(point.replies["answer"].verdict is Verdict.RIGHT)
    return x, y


# Parts


def test_every_problem_is_in_one_part_three_to_one_to_one() -> None:
    parts = [part_of(f"p{i}") for i in range(5000)]
    shares = [parts.count(part) / 5000 for part in ("train", "calibration", "test")]  # type: ignore[arg-type]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    assert parts[:50] == [part_of(f"p{i}") for i in range(50)], "always the same one"


# What each rule learns


def test_lynx_finds_the_signal_and_keeps_its_promise_per_look(pair: Pair) -> None:
    recording, unseen = pair
    artefact = calibrate("lynx", recording)
    assert artefact.about["measured"]["auroc"] > 0.9
    x, y = looks(recording, {"calibration"})
    p = probability(artefact.network, np.array(x))
    right = np.array(y)
    np.testing.assert_allclose(artefact.arrays["right"], np.sort(p[right]), rtol=1e-6)
    np.testing.assert_allclose(artefact.arrays["wrong"], np.sort(p[~right]), rtol=1e-6)
    x, y = looks(unseen, {"train", "calibration", "test"})
    p, wrong = probability(artefact.network, np.array(x)), ~np.array(y)
    q = conformal(artefact.arrays["wrong"], artefact.arrays["right"], 0.1)
    out = np.array([exits(float(one), *q) for one in p])
    assert binomtest(int(out[wrong].sum()), int(wrong.sum()), 0.1, alternative="greater").pvalue > 0.01
    assert out[~wrong].mean() > 0.5, "and it does exit"


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_a_fit_is_the_same_again_and_after_its_file(pair: Pair, tmp_path: Path, kind: Any) -> None:
    one, two = (calibrate("lynx", pair[0], kind=kind) for _ in range(2))
    x = np.array(looks(pair[0], {"test"})[0])
    np.testing.assert_array_equal(one.network(x), two.network(x))
    one.save(tmp_path / "a.json")
    np.testing.assert_array_equal(load_artefact(str(tmp_path / "a.json"), "lynx").network(x), one.network(x))
    assert one.about["network"] == kind
    assert one.about["recording"]["tasks"] == ["sums@1"]
    assert one.about["recording"]["problems"]["sums@1"]["n"] == N
    assert one.about["recording"]["split"] == "calibration"


def chain_with(pair: Pair, first: str, last: str) -> RecordedChain:
    """A recorded chain that states `first` and ends in `last`."""
    chains = map(pair[0].chain, pair[0].rows.values())
    return next(c for c in chains if c.text.startswith(f"think so {first}") and c.answer == last)


def test_specexit_targets_count_to_the_first_place_from_which_the_answer_is_right(pair: Pair) -> None:
    chain = chain_with(pair, "3", "2")
    shortest = next(p.at for p in chain.checkpoints if p.replies["trial"].verdict is Verdict.RIGHT)
    told = exit_targets(chain)
    for point, target in zip(chain.checkpoints, told, strict=True):
        assert target is not None
        confidence, progress, remain = signals_of(target[None])[0]
        trial = point.replies["trial"].tokens.logprobs
        assert trial is not None
        assert confidence == pytest.approx(np.clip(np.exp(trial).mean(), 0.01, 0.99), abs=1e-6)
        assert progress == pytest.approx(np.clip(point.at / shortest, 0.01, 0.99))
        assert remain == pytest.approx(max(shortest - point.at, 1))
    assert exit_targets(chain_with(pair, "3", "3")) == [None] * len(chain.checkpoints), "nothing to count to"


def test_specexit_learns_a_head_that_tells_better_than_the_mean(pair: Pair) -> None:
    artefact = calibrate("specexit", pair[0])
    assert artefact.network.biases[-1].size == 3
    assert artefact.about["measured"]["explained"]["confidence"] > 0.3


def test_knowing_takes_the_layer_that_tells(pair: Pair) -> None:
    artefact = calibrate("knowing-before-saying", pair[0])
    assert artefact.layers == (1,)
    told = artefact.about["measured"]["auroc_by_layer_calibration"]
    assert told["1"] == max(told.values())
    assert artefact.about["measured"]["auroc"] > 0.6


def test_first_try_learns_which_questions_are_worth_another_look(pair: Pair) -> None:
    assert repairs(chain_with(pair, "3", "2"), pair[0])
    assert not repairs(chain_with(pair, "2", "2"), pair[0])
    assert not repairs(chain_with(pair, "3", "3"), pair[0])
    assert calibrate("first-try", pair[0]).about["measured"]["auroc"] > 0.7


OWN = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from satisfice.core.card import Card
from satisfice.core.problem import Verdict
from satisfice.methods.stopping.artefact import load_artefact
from satisfice.methods.stopping.learning import Fitted, auroc, both, collect, train_classifier

@dataclass(frozen=True, kw_only=True)
class Hard:
    card: ClassVar = Card(id="hard", paper="", where="here", needs=frozenset(), fidelity="standard")
    artefact: str = ""

    async def __call__(self, session):
        load_artefact(self.artefact, "hard")
        return await session.chain().finish()

    @staticmethod
    def fit(records, classifier, seed):
        found = collect(
            (np.array(["hard" in chain.problem.question, 1.0]), chain.verdict is Verdict.RIGHT, chain.problem.id)
            for chain in records.chains()
        )
        network = train_classifier(both(found, "train"), classifier, (4,), seed)
        return Fitted(network=network, measured=auroc(network, both(found, "test")))
"""


def test_a_rule_that_nobody_knows_learns_by_what_stands_in_its_file(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    rule, out = f"{tmp_path}/own.py:Hard", tmp_path / "hard.json"
    assert "Use" in told(rule, "--recording", str(pair[0].folder), "--out", str(out))
    assert load_artefact(str(out), "hard").about["measured"]["auroc"] > 0.55
    with pytest.raises(BadInput, match="on the command line only"):
        calibrate(rule, pair[0])


def test_what_cannot_be_learned_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'lynx'"):
        calibrate("linx", pair[0])
    bare = make(tmp_path / "bare", "calibration", n=4, hidden=(), hidden_first=0)
    for rule in ("lynx", "specexit", "knowing-before-saying"):
        with pytest.raises(BadInput, match=r"holds no hidden states\. Record with"):
            calibrate(rule, bare)
    with pytest.raises(BadInput, match=rf"the train part has .* and it takes {LEAST} of each"):
        calibrate("first-try", bare)
    few = make(tmp_path / "few", "calibration", n=12)
    for rule in ("lynx", "knowing-before-saying"):
        with pytest.raises(BadInput, match="Record more chains"):
            calibrate(rule, few)
    with pytest.raises(BadInput, match="too few to learn from"):
        calibrate("specexit", few)


# Promises


VALUES = [0.95, 0.9, 0.5]


def test_a_promise_counts_the_answers_that_replaying_loses(pair: Pair) -> None:
    recording, _ = pair
    found = promise_threshold(recording, "deer", "threshold", VALUES, most=0.1)
    tales = Tales(sums(N, "calibration")).of.values()
    repaired = sum(tale.startswith("think so 3") and tale.endswith("2") for tale in tales)
    for one in found.outcome.tested:
        told = 0 if one.threshold > 0.66 else repaired  # a wrong trial has confidence 0.66 at most
        assert one.lost == told
        assert one.bound == upper_bound(told, N, 0.05)
    assert found.outcome.threshold == 0.9
    assert found.policy == "deer(threshold=0.9)"
    assert 0 < found.saving < 1
    assert found.recording["split"] == "calibration"
    whole = promise_threshold(recording, "answer-consistency", "k", [3, 2], most=0.1)
    assert whole.policy == "answer-consistency(k=2)", "a whole number is one"


def test_a_question_that_is_asked_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sums(160, "calibration")
    again = tuple(replace(p, id=f"again-{p.id}", question=f" {p.question}\n") for p in whole.problems[:40])
    task = replace(whole, problems=(*whole.problems, *again))
    monkeypatch.setattr("tests.recommend.test_calibrate.sums", lambda n, split: task)
    recording = make(tmp_path / "again", "calibration", 200, hidden=(), hidden_first=0)
    assert len(recording) == 200
    (found,) = effects(recording, ["deer(threshold=0.9)"])
    assert len(found.lost) == 160
    assert promise_threshold(recording, "deer", "threshold", [0.9], most=0.1).outcome.problems == 160
    chains = list(ByQuestion(recording).chains())
    assert {chain.problem.id for chain in chains} == {p.id for p in whole.problems}, "one part for both"


def test_promises_that_cannot_be_made_are_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'threshold'"):
        promise_threshold(pair[0], "deer", "treshold", VALUES)
    with pytest.raises(BadInput, match="each value to be tried once"):
        promise_threshold(pair[0], "deer", "threshold", [0.9, 0.9])
    few = make(tmp_path / "few", "calibration", n=140, hidden=(), hidden_first=0)
    with pytest.raises(BadInput, match=r"140 problems cannot support .* takes 149 even if none is lost"):
        promise_threshold(few, "deer", "threshold", VALUES)
    with pytest.raises(SatisficeError, match=r"temperature|bias|scores"):
        promise_threshold(pair[0], "eot-temperature", "beta", [1.0])


def test_effects_are_paired_with_the_full_chains(pair: Pair) -> None:
    never, first = effects(pair[1], ["deer(threshold=1)", "first-cue"])
    assert (never.lost.sum(), never.gained.sum()) == (0, 0)
    assert never.saving < 0, "its looks cost"
    tales = list(Tales(sums(M, "eval")).of.values())
    assert first.lost.tolist() == [t.startswith("think so 3") and t.endswith("2") for t in tales]
    assert first.saving > 0.5


# The command


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["calibrate", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_makes_an_artefact_that_the_rule_loads_and_replays(pair: Pair, tmp_path: Path) -> None:
    recording, unseen = (str(one.folder) for one in pair)
    out = str(tmp_path / "lynx.json")
    said = told("lynx", "--recording", recording, "--test", unseen, "--out", out)
    assert '"auroc"' in said
    assert f'lynx(artefact="{out}") loses' in said.replace("(artefact=" + out, f'(artefact="{out}"')
    rule = build(f'lynx(artefact="{out}", delta=0.1)')
    (found,) = effects(pair[1], [f'lynx(artefact="{out}", delta=0.1)'])
    assert found.saving > 0.2
    assert rule.artefact == out  # type: ignore[attr-defined]


def test_the_command_writes_down_a_promise_and_what_came_of_it(pair: Pair, tmp_path: Path) -> None:
    recording, unseen, out = str(pair[0].folder), str(pair[1].folder), tmp_path / "p.json"
    values = ",".join(map(str, VALUES))
    arguments = ["deer", "--recording", recording, "--values", values, "--most", "0.1", "--test", unseen]
    said = told(*arguments, "--out", str(out))
    assert "testing ends here" in said
    assert "Use deer(threshold=0.9)" in said
    row = json.loads(out.read_text())
    assert row["policy"] == "deer(threshold=0.9)"
    assert row["test"]["problems"] == M
    assert row["test"]["recording"]["split"] == "eval"
    assert (row["test"]["lost"], row["recording"]["problems"]["sums@1"]["n"]) == (0, N)
    with pytest.raises(BadInput, match="shares 600 questions"):
        told(*arguments[:-1], recording)
    with pytest.raises(BadInput, match="values must be numbers with commas"):
        told("deer", "--recording", recording, "--values", "a,b")
    with pytest.raises(BadInput, match="network must be logistic or mlp"):
        told("lynx", "--recording", recording, "--network", "forest")


def test_the_command_that_finds_no_threshold_says_so_by_its_exit_code(pair: Pair, tmp_path: Path) -> None:
    arguments = ["deer", "--recording", str(pair[0].folder), "--values", "0.5", "--out", str(tmp_path / "p.json")]
    none = CliRunner().invoke(app, ["calibrate", *arguments, "--json"])
    assert none.exit_code == 1
    assert "Use none of them" in none.stderr
    found = json.loads(none.stdout)
    assert found["use"] is None
    assert found["found"] == json.loads((tmp_path / "p.json").read_text())
    some = CliRunner().invoke(app, ["calibrate", *arguments[:3], "--values", "0.95", "--json", *arguments[5:]])
    assert some.exit_code == 0
    assert json.loads(some.stdout)["use"] == "deer"


def test_the_value_of_stopping_is_learned_and_a_dearer_token_stops_sooner(pair: Pair, tmp_path: Path) -> None:
    recording, fresh = pair
    artefact = calibrate("stop-value", recording)
    assert artefact.about["measured"]["chains"] == len(recording)
    artefact.save(tmp_path / "value.json")
    rule = f'stop-value(artefact="{tmp_path / "value.json"}", price='
    cheap, dear = effects(fresh, [f"{rule}0.02)", f"{rule}5)"])
    assert dear.saving >= cheap.saving
    assert cheap.lost.mean() <= dear.lost.mean() + 0.02
