"""Spans by OpenTelemetry's own instrumentation: of each request here, and of each request to an upstream.

Where they go is said by OpenTelemetry's variables: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME` and others.
Nothing of what was asked or answered is in them.
"""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp

from satisfice.core.errors import MissingExtra


def traced(app: ASGIApp, provider: Any = None) -> ASGIApp:
    """Return the application with spans. `provider` takes them; default: one that exports them by OTLP over HTTP.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        provider = _exporting() if provider is None else provider
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("opentelemetry"):
            raise MissingExtra("satisfice serve --traces", "otel") from error
        raise
    client = AioHttpClientInstrumentor()
    if not client.is_instrumented_by_opentelemetry:
        client.instrument(tracer_provider=provider)
    wrapped: ASGIApp = OpenTelemetryMiddleware(
        app, tracer_provider=provider, excluded_urls="metrics,healthz,readyz,health,figures",
        exclude_spans=["receive", "send"],
    )  # fmt: skip
    return wrapped


def on_span(about: Mapping[str, Any]) -> None:
    """Write on the span of the request what became of it."""
    from opentelemetry import trace

    trace.get_current_span().set_attributes({f"satisfice.{name}": value for name, value in about.items()})


def _exporting() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "satisfice"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
