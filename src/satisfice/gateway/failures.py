"""What a client is told when something goes wrong: status, kind and words, in no protocol's form yet; pure.

Permanent things are 4xx, which clients do not try again; transient ones are 429 or 5xx, with a hint when to.
"""

import re
from dataclasses import dataclass

from satisfice.core.errors import BadInput, ContextExceeded, EngineError, Refused, SatisficeError, Unfit

_OVERFLOW = re.compile(
    r"(?i)context[ _](length|size|window)|maximum context|exceeds? the (available )?context|tokens exceed"
)
_OURS = frozenset({401, 403})  # of an upstream: it is the operator's key that it did not take


class RequestRefused(SatisficeError):
    """A request is turned away: an HTTP status, and what to do."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.retry_s = retry_s


class Unavailable(SatisficeError):
    """No engine is there to serve a request."""


class OutOfTime(SatisficeError):
    """The time of a request was over before there was anything that could become an answer."""


class TakenBack(SatisficeError):
    """A policy returned a chain that does not begin with what was shown."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a client is told."""

    status: int
    kind: str  # OpenAI's `type`
    code: str
    message: str
    param: str | None = None
    retry_s: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        headers = {} if self.retry_s is None else {"retry-after": str(max(1, round(self.retry_s)))}
        return headers | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


def failure_of(error: Exception) -> Failure:
    """Return what a client is told of an error."""
    if isinstance(error, RequestRefused):
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(error.status, "invalid_request_error")
        return Failure(
            status=error.status,
            kind=kind,
            code=error.code,
            message=str(error),
            param=error.param,
            retry_s=error.retry_s,
        )
    if isinstance(error, ContextExceeded):
        return overflow(
            f"This model's maximum context length is {error.max_length} tokens. However, your prompt has "
            f"{error.prompt_tokens} tokens. Please reduce its length."
        )
    if isinstance(error, BadInput | Unfit):
        return Failure(status=400, kind="invalid_request_error", code="invalid_value", message=str(error))
    if isinstance(error, Refused) and error.status not in _OURS:
        return _refused(error)
    if isinstance(error, Unavailable):
        said = "No model server is ready. Try again soon."
        return Failure(status=503, kind="server_error", code="not_ready", message=said, retry_s=5)
    if isinstance(error, EngineError):
        said = "The model server failed while it worked on this request. Try again."
        return Failure(status=502, kind="upstream_error", code="upstream_failed", message=said, retry_s=1)
    if isinstance(error, OutOfTime):
        return Failure(status=504, kind="server_error", code="out_of_time", message=str(error))
    what = str(error) if isinstance(error, SatisficeError) else "The gateway failed on this request."
    return Failure(status=500, kind="server_error", code="internal_error", message=what)


def overflow(message: str) -> Failure:
    """Return the failure of a prompt longer than the context, in the words that clients look for."""
    code = "context_length_exceeded"
    return Failure(status=400, kind="invalid_request_error", code=code, message=message, param="messages")


def _refused(error: Refused) -> Failure:
    words = error.words or f"The model server refused the request with status {error.status}."
    if error.status in (400, 413, 422) and _OVERFLOW.search(words):
        known = (
            words if "maximum context length" in words else f"{words} (The model's maximum context length is exceeded.)"
        )
        return overflow(known)
    kind = "rate_limit_error" if error.status == 429 else "invalid_request_error"
    code = "rate_limit_exceeded" if error.status == 429 else "upstream_refused"
    retry_s = (1 if error.retry_s is None else error.retry_s) if error.status == 429 else error.retry_s
    return Failure(status=error.status, kind=kind, code=code, message=words, retry_s=retry_s)
