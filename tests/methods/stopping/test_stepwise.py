"""Rules that are a pure step: what each says, and that their policy asks often enough to stop where the step would."""

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.stopping.stage import looks, play

from satisfice.catalog import build
from satisfice.core.engine import Request, Watch, random_key
from satisfice.core.errors import BadInput, Unfit
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.core.stepping import Biased, Rows, Stepping, asked
from satisfice.engines.scripted import END, SCRIPTED, ScriptedEngine
from satisfice.methods.stopping import FAMILY
from satisfice.methods.stopping.deepconf_line import DeepConfLine
from satisfice.methods.stopping.end_mass import EndMass, end_share
from satisfice.methods.stopping.entropy_settled import EntropySettled
from satisfice.methods.stopping.eot_temperature import EotTemperature
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.no_wait import NoWait

STEPPING = sorted(name for name, rule in FAMILY.methods.items() if hasattr(rule, "step"))
SPECS = (
    "fixed-budget:0", "fixed-budget:7", "fixed-budget(tokens=7, at=step)", "fixed-budget(tokens=7, at=cue)",
    "fixed-budget(tokens=20, landing=9, push=2)", "fixed-budget(tokens=12, landing=12, push=2, at=step)", "first-cue",
    "first-cue(every=2)", "first-cue(chance=0.5)", "eot-temperature(beta=1.5, min_tokens=3)", "no-wait",
    "loop-guard(times=2, longest=6, least=6, every=4)", "deepconf-line(window=3, below=2.4)",
    "deepconf-line(window=4, above=3.2, below=none)", "entropy-settled(window=4, below=0.9)", "end-mass:0.1",
)  # fmt: skip
WORDS = ("a", "b", " ", "\n", "Wait", "</think>")  # a token each


def test_which_rules_need_only_what_a_sampler_sees() -> None:
    assert STEPPING == [
        "deepconf-line", "end-mass", "entropy-settled", "eot-temperature", "first-cue", "fixed-budget", "loop-guard",
        "no-wait",
    ]  # fmt: skip
    assert all(isinstance(FAMILY.methods[name](), Stepping) for name in STEPPING)


# What they say


@pytest.mark.parametrize(("tokens", "stair"), [(55, 0), (56, 1), (59, 1), (60, 2), (84, 8), (87, 8), (88, 8)])
def test_a_landing_makes_the_end_likelier_in_stairs(tokens: int, stair: int) -> None:
    rule = FixedBudget(tokens=88, landing=32, push=4.0)
    move = asked(rule, thought=tokens, targets=(5,))
    assert move.bias is not None
    assert move.bias.tolist() == [[4.0 * stair / 8]]
    assert bool(move.close[0]) == (tokens == 88)


def test_the_confidence_of_the_sheet_against_a_line() -> None:
    confidences = [1.4594, 0.8574, 0.9831, 1.7789]
    means = [Watch(signal="confidence", window=2).mean(confidences[:n]) for n in range(1, 5)]
    assert np.round(means[1:], 3).tolist() == [1.158, 0.92, 1.381]
    assert math.isnan(means[0]), "a window that is not full has no mean"
    rule = DeepConfLine(window=2, below=1.0)
    assert [bool(asked(rule, thought=n, mean=mean).close[0]) for n, mean in enumerate(means)] == [
        False,
        False,
        True,
        False,
    ]
    sure = DeepConfLine(window=2, below=None, above=1.2)
    assert [bool(asked(sure, thought=n, mean=mean).close[0]) for n, mean in enumerate(means)] == [
        False,
        False,
        False,
        True,
    ]
    with pytest.raises(BadInput, match="nothing would stop a chain"):
        DeepConfLine(below=None)


@pytest.mark.parametrize(
    ("ends", "doubts", "share"), [(0.1, 0.3, 0.25), (0.0, 0.3, 0.0), (0.3, 0.0, 1.0), (0.0, 0.0, 0.0), (0.2, 0.2, 0.5)]
)
def test_the_share_of_the_end(ends: float, doubts: float, share: float) -> None:
    assert end_share(np.array([ends]), np.array([doubts])).tolist() == pytest.approx([share])
    assert bool(asked(EndMass(threshold=share), thought=1, ends=ends, doubts=doubts).close[0]) is False, "strict"


@given(st.data())
def test_a_row_does_not_depend_on_its_neighbours_and_torch_says_the_same(data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    rule = build(data.draw(st.sampled_from(SPECS)))
    assert isinstance(rule, Stepping)
    n = data.draw(st.integers(1, 5))
    column = lambda low, high: data.draw(st.lists(st.integers(low, high), min_size=n, max_size=n))  # noqa: E731
    thought, cues, keys = column(0, 30), column(1, 4), column(0, 2**64 - 1)
    tokens = [data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)) for size in thought]
    shares = [np.array(column(0, 20)) / 10 for _ in range(3)]
    scores = np.array([column(-9, 9) for _ in range(3)], dtype=float).T
    targets = (1,) if isinstance(rule, Biased) else ()

    def move(rows: slice, array: Any) -> tuple[list[Any], ...]:
        got = rule.step(Rows(
            thought=np.array(thought)[rows], cues=np.array(cues)[rows], keys=keys[rows], tokens=tokens[rows],
            mean=array(shares[0][rows]), ends=array(shares[1][rows]), doubts=array(shares[2][rows]),
            scores=array(scores[rows]), targets=targets,
        ))  # fmt: skip
        return tuple([] if part is None else np.asarray(part).tolist() for part in (got.close, got.value, got.bias))

    together = move(slice(n), np.asarray)
    assert together == move(slice(n), torch.as_tensor)
    for row in range(n):
        assert move(slice(row, row + 1), np.asarray) == tuple(part[row : row + 1] for part in together)


# Their policies


def random_world(seed: int) -> Any:
    """A script that draws each token from a distribution of its own, which depends on what is there."""

    def script(so_far: str, request: Request) -> Any:
        if "</think>" in so_far:
            return END if so_far.endswith("4") else "4"
        rng = np.random.default_rng(random_key(seed, so_far) >> 1)
        mass = rng.dirichlet(np.ones(len(WORDS)) * rng.choice([0.2, 2.0])) * 0.93 + 0.01
        mass[-1] *= 0.2  # chains are to go on for a while
        return dict(zip(WORDS, (mass / mass.sum()).tolist(), strict=True))

    return script


def walked(rule: Stepping, seed: int) -> tuple[list[str], bool]:
    """The thinking and whether the rule closed it, by asking before every single token: no pauses, no policy."""
    engine = ScriptedEngine(random_world(seed), profile=SCRIPTED)
    session_key, said, cues = random_key(seed, "a", "0"), list[str](), 0
    confidences, entropies = list[float](), list[float]()
    targets = rule.targets(engine) if isinstance(rule, Biased) else ()
    engine.encode("q<think>")
    while len(said) < 60:
        text = "".join(said)
        mass = engine.script(text, Request(limit=1))
        window = getattr(rule, "window", 1)
        values = confidences if rule.card.id == "deepconf-line" else entropies
        seen = {"mean": sum(values[-window:]) / window if len(values) >= window else math.nan}
        seen |= {"ends": mass["</think>"], "doubts": mass["Wait"]}
        ids = [engine.encode(word)[0] for word in said]
        move = asked(rule, thought=len(said), cue=cues + 1, key=session_key, tokens=ids, targets=targets, **seen)
        if move.close[0] and (rule.at == "token" or (rule.at == "step" and said and said[-1] == "\n")):
            return said, True
        scores = {word: math.log(p) for word, p in mass.items()}
        if move.bias is not None:
            for target, nats in zip(targets, move.bias[0], strict=True):
                scores = {w: s + (nats if engine.encode(w)[0] == target else 0) for w, s in scores.items()}
        chances = np.exp(np.array(list(scores.values()))).cumsum()
        position = len(engine.encode("q<think>")) + len(said)
        drawn = chances[-1] * random_key(session_key, position) / 2**64
        word = WORDS[int(np.searchsorted(chances, drawn, side="right"))]
        if word == "Wait" and not "".join(said)[-1:].isalnum():
            cues += 1
            if move.close[0] and rule.at == "cue":
                return said, True
        if word == "</think>":
            return said, False
        said.append(word)
        confidences.append(-sum(math.log(p) for p in mass.values()) / len(mass))
        entropies.append(-sum(p * math.log(p) for p in mass.values()))
    return said, False


@pytest.mark.parametrize("spec", SPECS)
def test_a_policy_stops_where_its_step_would_have_at_any_token(spec: str) -> None:
    rule: Any = build(spec)
    closed = 0
    for seed in range(15):
        engine = ScriptedEngine(random_world(seed))
        problem = Problem(id="a", task="t@1", question="q", answer="")
        solution = asyncio.run(solve(rule, Session(engine, problem, seed=seed, temperature=1.0, chain_limit=80)))
        said, stopped = walked(rule, seed)
        closed += stopped
        assert (solution.thinking, solution.ended == "rule") == ("".join(said), stopped), seed
    assert closed or spec.startswith(("eot", "no-wait"))


def test_a_window_goes_on_where_a_budget_gives_tokens_in_parts() -> None:
    rule, stopped = DeepConfLine(window=25, below=3.0), 0
    for seed in range(20):
        limits: Any = {"seed": seed, "temperature": 1.0, "chain_limit": 200}
        whole, parts = play(rule, random_world(seed), **limits), play(rule, random_world(seed), **limits, budget=100)
        stopped += whole.ended == "rule"
        assert (whole.thinking, whole.ended) == (parts.thinking, parts.ended)
    assert stopped > 3


def test_what_is_seen_is_written_down() -> None:
    solution = play(EndMass(threshold=1.0), random_world(5), seed=5, temperature=1.0)
    assert looks(solution)
    assert all(0 <= share <= 1 for share in looks(solution))
    [seen] = looks(play(EntropySettled(window=3, below=2.0), random_world(5), seed=5, temperature=1.0))
    assert 0 < seen < 2


def test_rules_that_change_scores_are_refused_where_nobody_may() -> None:
    solution = play(FixedBudget(landing=8), random_world(0))
    assert solution.error.startswith("Unfit: fixed-budget: these settings change scores")
    assert not play(FixedBudget(), random_world(0)).error


def test_a_rule_that_never_fires_changes_nothing() -> None:
    for rule in (DeepConfLine(window=4, below=0.0), EntropySettled(below=0.0), EndMass(threshold=1.0)):
        mine, full = (play(r, random_world(2), seed=2, temperature=1.0).thinking for r in (rule, Full()))
        assert mine == full


def test_no_model_without_reflection_words() -> None:
    engine = ScriptedEngine("", profile=SCRIPTED)
    engine.encode = lambda text: [1, 2]  # type: ignore[method-assign]
    with pytest.raises(Unfit, match="is a single token of this model"):
        NoWait().targets(engine)
    assert EotTemperature().targets(engine) == (1,)
