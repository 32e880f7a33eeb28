"""Spans by OpenTelemetry's own instrumentation: of each request here, and of each request to an upstream.

Where they go is said by OpenTelemetry's variables: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME` and others.
Nothing of what was asked or answered is in them.
"""

import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp

from satisfice.core.errors import MissingExtra

UNWATCHED = "metrics,healthz,readyz,health,figures"  # paths that are asked all the time


class Spans:
    """Makes spans. `provider` takes them; default: one that exports them by OTLP over HTTP.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
            from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

            self._provider = _exporting() if provider is None else provider
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("opentelemetry"):
                raise MissingExtra("satisfice serve --traces", "otel") from error
            raise
        self._middleware = OpenTelemetryMiddleware
        self._tracer = self._provider.get_tracer("satisfice.gateway")
        AioHttpClientInstrumentor().instrument(tracer_provider=self._provider)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return the application with a span for each request."""
        wrapped: ASGIApp = self._middleware(
            app, tracer_provider=self._provider, excluded_urls=UNWATCHED, exclude_spans=["receive", "send"]
        )
        return wrapped

    def told(self, about: Mapping[str, Any]) -> None:
        """Add a span, within that of the request, with what became of it: policy, outcome, tokens.

        It is made when all is over: the request's own span ends with the last byte of the response.
        """
        end = time.time_ns()
        attributes = {f"satisfice.{name}": value for name, value in about.items()}
        begin = end - int(about["seconds"] * 1e9)
        self._tracer.start_span("generate", start_time=begin, attributes=attributes).end(end)


def _exporting() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "satisfice"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
