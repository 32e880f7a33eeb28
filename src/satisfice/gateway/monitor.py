"""Whether what `satisfice recommend` promised of the policy still holds for the requests that come in.

Three things are watched, each by a test that may be looked at after every request and raises a false alarm with a
chance of at most 1 - confidence over its whole life:

- the promise: a share of the requests (`--control`; in shadow mode each) is answered in full, and the rule runs beside.
  Nobody knows which answer is right, so what is counted is whether they *differ*. Where *changed* was promised the test
  is of that; otherwise of how often answers changed when the promise was made (`changed_most`, a bound above it): a
  lost answer is a changed one, so where answers change no oftener, no more are lost than could be then;
- the saving: in shadow mode from pairs. Under control a request is done one way for its client, so lengths of different
  requests are compared, weighed by the chance that each was done so;
- the traffic: tokens of prompts, tokens up to the rule's first look, and what that look saw, against the recording.
  None of them depends on where the rule stops.
"""

import logging
import math
import random
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from satisfice.answers import extract_strict, same
from satisfice.answers.extract import AnswerForm
from satisfice.gateway.generation import Outcome
from satisfice.gateway.promise import OnBroken, Promise
from satisfice.measure.drift import NUMBERS, Drift
from satisfice.measure.monitor import Monitor, SavingWatch

log = logging.getLogger("satisfice.gateway")


class Watch:
    """The watch over one promise, for as long as the gateway runs under it."""

    def __init__(self, promise: Promise, on_broken: OnBroken = "warn") -> None:
        self.promise, self.on_broken = promise, on_broken
        doubt = 1 - promise.confidence
        self.monitor = None if promise.allowed is None else Monitor(most=promise.allowed, doubt=doubt)
        self.saved = SavingWatch()
        known = {name: promise.traffic[name] for name in NUMBERS if name in promise.traffic}
        self.drifts = {name: Drift(reference=one, doubt=doubt / len(known)) for name, one in known.items()}

    @property
    def off(self) -> bool:
        """Whether requests get the full chain in place of the rule, because the promise is broken."""
        return self.on_broken == "full" and self.monitor is not None and self.monitor.broken

    def compared(self, full: str, ruled: str, form: AnswerForm) -> None:
        """Take in two visible answers to one request, the full chain's and the rule's."""
        if self.monitor is None:
            return
        before = self.monitor.broken
        self.monitor = self.monitor.seen(not same_answer(full, ruled, form))
        if self.monitor.broken and not before:
            turned = " Requests are answered in full from now on." if self.off else ""
            log.warning("the promise is %s.%s", self.monitor, turned)

    def spent(self, outcome: Outcome, look: tuple[float, float], in_full: bool, control: float) -> None:
        """Take in a request that was done one way, in full with a chance of `control`, else under the rule."""
        if 0 < control < 1:
            self.saved = self.saved.alone(outcome.spent, is_full=in_full, share=control)
        if not in_full:
            self.came(outcome.prompt_tokens, *look)

    def came(self, prompt: int, first_look: float, confidence: float) -> None:
        """Take in what a request under the rule was like; NaN where the rule never looked."""
        for name, value in zip(NUMBERS, (float(prompt), first_look, confidence), strict=True):
            if (drift := self.drifts.get(name)) is not None:
                self.drifts[name] = after = drift.seen(value, random.random())
                if after.drifted and not drift.drifted:
                    log.warning("%s: %s than where the promise was made", _WORDS[name], after.direction)

    def figures(self) -> dict[str, Any]:
        """Return what the page shows."""
        monitor, (low, high) = self.monitor, self.saved.interval()
        return {
            "loss": self.promise.loss, "most": self.promise.most, "allowed": self.promise.allowed,
            "compared": 0 if monitor is None else monitor.compared,
            "changed": 0 if monitor is None else monitor.lost,
            "evidence": 1.0 if monitor is None else monitor.peak, "alarm_at": 1 / (1 - self.promise.confidence),
            "broken": monitor is not None and monitor.broken, "off": self.off,
            "saving": None if not math.isfinite(low) else {"mean": self.saved.saving, "low": low, "high": high},
            "saving_promised": self.promise.saving_low,
            "drift": [
                {
                    "name": _WORDS[name], "requests": one.requests, "evidence": one.peak, "alarm_at": 1 / one.doubt,
                    "direction": one.direction,
                }
                for name, one in self.drifts.items()
            ],
        }  # fmt: skip


_WORDS = {
    "prompt": "tokens of prompts", "first_look": "tokens up to the first look",
    "confidence": "what the rule sees at its first look",
}  # fmt: skip


def same_answer(first: str, second: str, form: AnswerForm) -> bool:
    """Return whether two visible answers say the same, as the verifier compares; texts without an answer, as texts."""
    a, b = (extract_strict(text, form) for text in (first, second))
    if a is None or b is None:
        return first.strip() == second.strip()
    return a == b or same(a, b)


class WatchCollector(Collector):
    """The watch's figures for Prometheus; nothing while no promise is watched."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges."""
        watch: Watch | None = self._gateway.shared.watch
        if watch is None:
            return
        found = watch.figures()
        told = {
            "satisfice_promise_compared": ("Answers compared with the rule's", found["compared"]),
            "satisfice_promise_changed": ("Of these, those that differ", found["changed"]),
            "satisfice_promise_evidence": ("Evidence against it; broken at 1 / doubt", found["evidence"]),
            "satisfice_promise_broken": ("1: the promise is broken", int(found["broken"])),
        }  # fmt: skip
        for name, (text, value) in told.items():
            yield GaugeMetricFamily(name, text, value=float(value))
        drift = GaugeMetricFamily("satisfice_drift_evidence", "Evidence that the traffic differs", labels=["number"])
        for name, one in watch.drifts.items():
            drift.add_metric([name], one.peak)
        yield drift
