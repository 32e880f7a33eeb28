"""Rules that learn: their pure parts with the golden values, artefacts as hostile files, and the rules themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.stopping.stage import looks, play

from satisfice.core.engine import Request
from satisfice.core.errors import BadInput, Unfit
from satisfice.core.session import Policy
from satisfice.engines.scripted import END, HIDDEN, ScriptedEngine
from satisfice.methods.stopping.artefact import Artefact, Network, load_artefact, sigmoid
from satisfice.methods.stopping.first_try import NGRAMS, FirstTry, ngram_counts, stop_after
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.knowing_before_saying import KnowingBeforeSaying
from satisfice.methods.stopping.lynx import Lynx, conformal, exits, quantile
from satisfice.methods.stopping.specexit import SpecExit, done, ewma, signals_of
from satisfice.testing import check_method

WRONG = [0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.4, 0.55, 0.6, 0.85]
RIGHT = [0.45, 0.6, 0.7, 0.75, 0.8, 0.88, 0.9, 0.93, 0.95, 0.97, 0.99]
STORY = "a step\nso 4\nWait, once more\nso 4\nWait, yes\nso 4\n</think>4"


def script(so_far: str, request: Request) -> str:
    if STORY.startswith(so_far):
        return STORY[len(so_far) :] or END
    return END if so_far.endswith("answer") else "answer"


def constant(*outputs: float, width: int = HIDDEN) -> Network:
    """A network that says the same of everything."""
    zeros = np.zeros((width, len(outputs)))
    return Network(mean=np.zeros(width), scale=np.ones(width), weights=(zeros,), biases=(np.array(outputs),))


def odds(p: float) -> float:
    return float(np.log(p / (1 - p)))


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., str]:
    def make(rule: str, network: Network, **fields: Any) -> str:
        path = tmp_path / f"{rule}{len(list(tmp_path.iterdir()))}.json"
        Artefact(rule=rule, network=network, **fields).save(path)
        return str(path)

    return make


# Pure parts


def test_lynx_golden_values() -> None:
    assert conformal(WRONG, RIGHT, 0.2) == pytest.approx((0.6, 0.4))
    assert conformal(WRONG, RIGHT, 0.1) == pytest.approx((0.85, 0.55))
    q = conformal(WRONG, RIGHT, 0.2)
    assert [exits(p, *q) for p in (0.59, 0.61)] == [False, True]
    assert not exits(0.6, *conformal(WRONG, [0.9], 0.2)), "met exactly is not passed"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.5))
def test_the_quantile_is_a_score_and_covers_as_many_as_it_must(scores: list[float], delta: float) -> None:
    q = quantile(scores, delta)
    assert q in scores
    covered = sum(s <= q for s in scores)
    assert covered >= min(len(scores), (len(scores) + 1) * (1 - delta)) - 1e-6


def test_the_promise_of_the_quantile_is_kept_per_look() -> None:
    rng = np.random.default_rng(7)
    passed = [rng.random(200) > quantile(rng.random(50), 0.1) for _ in range(300)]
    assert np.mean(passed) == pytest.approx(1 - 46 / 51, abs=0.02)


def test_specexit_golden_values() -> None:
    smooth = ewma([[0.5, 0.2, 400], [0.9, 0.4, 150], [0.95, 0.5, 90]])
    assert smooth == pytest.approx(np.array([[0.5, 0.2, 400], [0.54, 0.22, 375], [0.581, 0.248, 346.5]]))
    assert not done(smooth[-1], 0.8, 0.3, 200)
    slow = ewma([[0.95]] * 11, before=[0.5])[:, 0]
    assert slow[-1] == pytest.approx(0.8088, abs=1e-4)
    assert (slow > 0.8).sum() == 1, "eleven updates"


def test_specexit_thresholds_are_strict() -> None:
    assert done([0.81, 0.31, 199], 0.8, 0.3, 200)
    assert not any(done(s, 0.8, 0.3, 200) for s in ([0.8, 0.31, 199], [0.81, 0.3, 199], [0.81, 0.31, 200]))


def test_smoothing_goes_on_where_it_stopped() -> None:
    values = np.random.default_rng(0).random((9, 3))
    whole, first = ewma(values), ewma(values[:4])
    np.testing.assert_allclose(ewma(values[4:], before=first[-1]), whole[4:])


def test_signals_are_squashed_and_never_overflow() -> None:
    signals = signals_of([[0.0, 1000.0, np.log(40)], [-1000.0, 0.0, 1e6]])
    assert signals[0] == pytest.approx([0.5, 1, 40])
    assert np.isfinite(signals).all()
    assert sigmoid([-1000.0, 0.0, 1000.0]) == pytest.approx([0, 0.5, 1])


def test_first_try_worked_example() -> None:
    flags = [False, False, True, False, True, True]
    assert (stop_after(flags, 1), stop_after(flags, 3), stop_after(flags, 4)) == (3, 6, None)
    assert stop_after([], 1) is None


def test_questions_that_differ_in_digits_only_have_the_same_pieces() -> None:
    one, other = ngram_counts("361 - 220 ="), ngram_counts("999 - 111 =")
    assert (one == other).all()
    assert one[NGRAMS] == pytest.approx(np.log1p(11))
    assert (ngram_counts("") == 0).all()


def test_a_network_is_what_scikit_learn_fitted() -> None:
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * 3 + 1
    y = x[:, 0] > x[:, 1]
    scaler = StandardScaler().fit(x)
    mlp = MLPClassifier((7, 4), max_iter=40, random_state=0)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp.fit(scaler.transform(x), y)
    network = Network(mean=scaler.mean_, scale=scaler.scale_, weights=tuple(mlp.coefs_), biases=tuple(mlp.intercepts_))
    np.testing.assert_allclose(sigmoid(network(x))[:, 0], mlp.predict_proba(scaler.transform(x))[:, 1], rtol=1e-6)


# Artefacts


def test_an_artefact_survives_its_file(tmp_path: Path) -> None:
    network = Network(
        mean=np.arange(3.0), scale=np.ones(3), weights=(np.ones((3, 2)), np.ones((2, 1))),
        biases=(np.zeros(2), np.array([0.5])),
    )  # fmt: skip
    whole = Artefact(
        rule="lynx", network=network, layers=(2, -1), arrays={"wrong": np.array(WRONG)}, weights="abc", about={"n": 3}
    )
    whole.save(tmp_path / "a.json")
    read = load_artefact(str(tmp_path / "a.json"), "lynx")
    assert (read.rule, read.layers, read.weights, read.about) == ("lynx", (2, -1), "abc", {"n": 3})
    np.testing.assert_array_equal(read.arrays["wrong"], np.array(WRONG, dtype=np.float32))
    np.testing.assert_allclose(read.network([[1.0, 2.0, 4.0]]), network([[1.0, 2.0, 4.0]]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"], "nothing half-written is left"


def broken(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    def write(text: str) -> str:
        row = json.loads(text)
        change(row)
        return json.dumps(row)

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:40], "is no artefact"),
        (lambda text: "[" * 100_000, "is no artefact"),
        (lambda text: "null", "is no artefact"),
        (broken(lambda row: row.update(schema_version=9)), "schema_version 9, this release reads 1"),
        (broken(lambda row: row.update(rule="specexit")), "is an artefact for specexit"),
        (broken(lambda row: row["network"]["mean"].update(shape=[7])), "4 numbers do not fill the shape"),
        (broken(lambda row: row["network"]["mean"].update(shape=[-1, -4])), "do not fill the shape"),
        (broken(lambda row: row["network"]["mean"].update(float32="!!")), "is no artefact"),
        (broken(lambda row: row["network"].update(weights=[])), "weights and biases come in pairs"),
        (broken(lambda row: row["network"]["mean"].update(float32="AADAfwAAAAAAAAAAAAAAAA==")), "not finite"),
        (broken(lambda row: row["network"]["biases"].append(row["network"]["mean"])), "come in pairs"),
    ],
)
def test_a_file_that_is_no_artefact_is_refused(
    made: Callable[..., str], spoil: Callable[[str], str], message: str
) -> None:
    path = Path(made("lynx", constant(0.0)))
    path.write_text(spoil(path.read_text()))
    with pytest.raises(BadInput, match=message):
        load_artefact(str(path), "lynx")


@pytest.mark.parametrize("rule", [Lynx, SpecExit, KnowingBeforeSaying])
def test_without_an_artefact_a_rule_is_refused_before_anything_runs(rule: type[Policy]) -> None:
    with pytest.raises(BadInput, match=rf"{rule.card.id}: artefact is missing. Make one with `satisfice calibrate"):
        rule()
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        rule(artefact="/nowhere/at/all")  # type: ignore[call-arg]


def test_an_artefact_of_another_model_is_refused(made: Callable[..., str]) -> None:
    class Marked(ScriptedEngine):
        def describe(self) -> dict[str, Any]:
            return {"weights": "mine"}

    learned = load_artefact(made("lynx", constant(0.0), weights="other"), "lynx")
    with pytest.raises(Unfit, match="weights are marked other, and this one's are mine"):
        learned.check_model(Marked(""))
    learned.check_model(ScriptedEngine(""))  # an engine that does not say is believed


# The rules


def lynx(made: Callable[..., str], p: float, **fields: Any) -> Lynx:
    arrays = {"wrong": np.array(WRONG), "right": np.array(RIGHT)}
    return Lynx(artefact=made("lynx", constant(odds(p)), layers=(1,), arrays=arrays), **fields)


def test_lynx_stops_before_the_first_cue_whose_probe_is_certain(made: Callable[..., str]) -> None:
    solution = play(lynx(made, 0.7, delta=0.2), script)
    assert (solution.thinking, solution.text, solution.ended) == ("a step\nso 4\n", "answer", "rule")
    assert looks(solution) == [pytest.approx(0.7)]
    assert solution.ledger.probe == 1
    assert play(lynx(made, 0.59, delta=0.2), script).ended == "model"
    assert play(lynx(made, 0.7, delta=0.1), script).ended == "model", "the threshold is 0.85 there"


def test_lynx_reads_the_state_at_the_cues_last_token(made: Callable[..., str]) -> None:
    engine = ScriptedEngine(script)
    prompt = len(engine.open("q", "a").ids)
    sequence = engine.open("q", "a")
    sequence.extend(engine.encode("a step\nso 4\nWait"))
    state = sequence._states(1, prompt + len(engine.encode("a step\nso 4\nWait")), 1)[0]
    weight = np.eye(HIDDEN)[:, :1]
    network = Network(mean=np.zeros(HIDDEN), scale=np.ones(HIDDEN), weights=(weight,), biases=(np.zeros(1),))
    arrays = {"wrong": np.array(WRONG), "right": np.array(RIGHT)}
    rule = Lynx(artefact=made("lynx", network, layers=(1,), arrays=arrays), delta=0.2)
    assert looks(play(rule, script))[0] == pytest.approx(float(sigmoid(state[0])), abs=1e-6)


def test_lynx_refuses_a_promise_that_its_calibration_cannot_support(made: Callable[..., str]) -> None:
    with pytest.raises(BadInput, match=r"delta=0.05 needs 19 calibration looks .* has 10. .* raise delta to 0.0909"):
        lynx(made, 0.7)
    with pytest.raises(BadInput, match="no calibration scores of looks that would be right"):
        Lynx(artefact=made("lynx", constant(0.0), arrays={"wrong": np.array(WRONG)}))
    with pytest.raises(BadInput, match="delta must be a number"):
        lynx(made, 0.7, delta=0.7)


def test_lynx_without_a_cue_is_no_rule(made: Callable[..., str]) -> None:
    rule = lynx(made, 0.99, delta=0.2)
    assert play(rule, "so 4\n</think>4").spans == play(Full(), "so 4\n</think>4").spans


def test_specexit_stops_at_the_end_of_a_step_at_no_cost(made: Callable[..., str]) -> None:
    rule = SpecExit(artefact=made("specexit", constant(odds(0.9), odds(0.5), np.log(50)), layers=(0,)))
    solution = play(rule, script)
    assert (solution.thinking, solution.text, solution.ended) == ("a step\n", "answer", "rule")
    assert (solution.ledger.probe, solution.ledger.dropped) == (0, 0)
    unsure = SpecExit(artefact=made("specexit", constant(odds(0.7), odds(0.5), np.log(50)), layers=(0,)))
    assert play(unsure, script).spans == play(Full(), script).spans
    with pytest.raises(BadInput, match="does not give three signals"):
        SpecExit(artefact=made("specexit", constant(0.0), layers=(0,)))


def test_specexit_smooths_over_every_token_of_the_thinking(made: Callable[..., str]) -> None:
    weight = np.zeros((HIDDEN, 3))
    weight[0, 0] = 1
    network = Network(mean=np.zeros(HIDDEN), scale=np.ones(HIDDEN), weights=(weight,), biases=(np.zeros(3),))
    solution = play(SpecExit(artefact=made("specexit", network, layers=(1,)), confidence=1.0), script)
    engine = ScriptedEngine(script)
    sequence = engine.open("q", "a")
    begin = len(sequence.ids)
    thinking = engine.encode(STORY.partition("</think>")[0])
    sequence.extend(thinking)
    values = sigmoid(sequence._states(1, begin, len(thinking))[:, 0])
    smooth = ewma(values[:, None])[:, 0]
    ends = [i for i, token in enumerate(thinking) if engine.decode([token]) == "\n"]
    assert looks(solution) == pytest.approx([smooth[i] for i in ends], abs=1e-6)


def test_knowing_thinks_shortly_only_where_it_knows(made: Callable[..., str]) -> None:
    def rule(p: float, **fields: Any) -> KnowingBeforeSaying:
        path = made("knowing-before-saying", constant(odds(p)), layers=(0,))
        return KnowingBeforeSaying(artefact=path, **fields)

    sure = play(rule(0.8, short=6), script)
    assert (sure.thinking, sure.ended, sure.text) == ("a step\nso ", "rule", "answer")
    assert sure.ledger.probe == 0
    unsure, full = play(rule(0.6, short=6), script), play(Full(), script)
    assert unsure.spans == full.spans
    again = play(rule(0.8, every=4), script)
    assert (looks(again)[:2], again.thinking) == ([pytest.approx(0.8)] * 2, "a step\nso")
    assert play(rule(0.6, every=4), script).spans == full.spans
    assert play(rule(0.8, short=1000), script).spans == full.spans


def test_first_try_counts_candidates(made: Callable[..., str]) -> None:
    profile = {"candidate_answer": r"^so \d+$"}
    assert play(FirstTry(), script, profile=profile).thinking == "a step\nso 4\n"
    assert play(FirstTry(first=2), script, profile=profile).thinking == "a step\nso 4\nWait, once more\nso 4\n"
    assert play(FirstTry(first=9), script, profile=profile).spans == play(Full(), script).spans
    assert play(FirstTry(), "nothing\n" * 5 + "</think>", profile=profile).ended == "model"
    for chance, answers in ((0.6, 3), (0.4, 1)):
        network = constant(odds(chance), width=NGRAMS + 1)
        rule = FirstTry(artefact=made("first-try", network))
        solution = play(rule, script, profile=profile)
        assert solution.thinking.count("so 4") == answers
        assert looks(solution)[0] == pytest.approx(chance)


def test_they_all_pass_the_battery(made: Callable[..., str]) -> None:
    arrays = {"wrong": np.linspace(0, 0.5, 40), "right": np.linspace(0.5, 1, 40)}
    check_method(Lynx(artefact=made("lynx", constant(0.6), layers=(1,), arrays=arrays)))
    check_method(SpecExit(artefact=made("specexit", constant(2.0, 0.0, 3.0), layers=(0,))))
    check_method(KnowingBeforeSaying(artefact=made("knowing-before-saying", constant(2.0), layers=(0,)), short=5))
    check_method(FirstTry(artefact=made("first-try", constant(1.0, width=NGRAMS + 1))))
