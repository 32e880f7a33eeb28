"""Spans: one for each request and one for each request to the upstream, in one trace, without what was said."""

import httpx
import pytest
from tests.engines.servers import LoopbackServer
from tests.gateway.serving import served, upstream

from satisfice.catalog import build
from satisfice.gateway.settings import Settings

pytest.importorskip("opentelemetry.sdk.trace", reason="OpenTelemetry is not installed: pip install 'satisfice[otel]'")
pytest.importorskip("opentelemetry.instrumentation.asgi")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.filterwarnings("default")
def test_a_request_and_what_it_asks_are_one_trace() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from satisfice.gateway.tracing import Spans

    found, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(found))
    settings, spans = Settings(policy=build("first-cue")), Spans(provider)
    with (
        LoopbackServer() as server,
        served(upstream(server.url), settings, spans.around, told=spans.told) as gateway,
    ):
        found.clear()
        begin = len(server.requests)
        body = {"messages": [{"role": "user", "content": "HIDDEN 12 + 34"}]}
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        url = gateway.url + "/v1/chat/completions"
        assert httpx.post(url, json=body, headers=headers, trust_env=False).status_code == 200
        httpx.get(gateway.url + "/metrics", trust_env=False)
        asked, told = len(server.requests) - begin, server.headers[begin:]
    ended = [span for span in found.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE]
    ours = [span for span in ended if span.kind.name == "SERVER"]
    theirs = [span for span in ended if span.kind.name == "CLIENT"]
    assert (len(ours), len(theirs)) == (1, asked)
    assert asked >= 2
    assert all(TRACE in row["traceparent"] for row in told)
    [made] = [span for span in ended if span.name == "generate"]
    assert made.parent.span_id == ours[0].context.span_id
    assert (made.attributes["satisfice.policy"], made.attributes["satisfice.outcome"]) == ("first-cue", "ok")
    assert made.attributes["satisfice.spent"] > 5
    assert made.start_time < made.end_time
    assert "HIDDEN" not in "".join(span.to_json() for span in ended)
