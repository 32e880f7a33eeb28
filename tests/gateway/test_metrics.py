"""What is counted, and whether a saving is one."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.ledger import Ledger
from satisfice.gateway.metrics import Mean, Metrics, saving


def mean_of(values: list[float]) -> Mean:
    mean = Mean()
    for value in values:
        mean.add(value)
    return mean


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_a_mean_is_the_mean(values: list[float]) -> None:
    mean = mean_of(values)
    assert mean.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert mean.variance_of_mean == pytest.approx(statistics.variance(values) / len(values), abs=1e-4, rel=1e-6)


def test_a_saving_has_an_interval_and_needs_enough_requests() -> None:
    # 100 requests each: means 60 and 100, standard deviations 20 and 30
    ruled, control = mean_of([40.0, 80.0] * 50), mean_of([70.0, 130.0] * 50)
    found = saving(ruled, control)
    assert found is not None
    # 1 - 60/100; the variance is (20²/99 + 0.6² · 30²/99) / 100²
    half = 1.96 * ((400 / 99 + 0.36 * 900 / 99) / 1e4) ** 0.5
    assert found == pytest.approx((0.4, 0.4 - half, 0.4 + half))
    assert saving(mean_of([1.0] * 29), control) is None
    assert saving(ruled, mean_of([0.0] * 40)) is None


def test_metrics_speak_prometheus_and_tell_no_strange_names() -> None:
    metrics = Metrics()
    metrics.began()
    metrics.took(Ledger(kept=5, probe=2, dropped=1, injected=3), "deer(threshold=0.9)", "key-1")
    metrics.took(Ledger(kept=1), "/secret/my.py:Rule(x=1)", "anybody")
    metrics.compare("ruled", 8)
    metrics.compare("control", 20)
    metrics.shadowed(same=True)
    metrics.no_answer("deer")
    metrics.ready({"http://a": True, "http://b": False})
    metrics.stopped("deer(threshold=0.9)", "rule")
    metrics.stopped("/secret/my.py:Rule(x=1)", "rule")
    metrics.first_text(0.2)
    metrics.ended("ok", 1.5, "key-1")
    text = metrics.text().decode()
    assert 'satisfice_tokens_total{label="kept"} 6.0' in text
    assert 'satisfice_stops_total{by="rule",policy="deer"} 1.0' in text
    assert 'policy="other"' in text
    for line in (
        'satisfice_policy_tokens_total{policy="deer"} 8.0', 'satisfice_client_tokens_total{client="key-1"} 8.0',
        'satisfice_client_requests_total{client="key-1",outcome="ok"} 1.0',
        'satisfice_compared_tokens_total{group="control"} 20.0', 'satisfice_shadow_answers_total{same="yes"} 1.0',
        'satisfice_no_answer_total{policy="deer"} 1.0', 'satisfice_upstream_ready{upstream="http://b"} 0.0',
    ):  # fmt: skip
        assert line in text
    assert "secret" not in text
    assert "satisfice_requests_running 0.0" in text
    figures = metrics.figures()
    assert figures["tokens"]["spent"] == 9
    assert figures["saving"] is None
