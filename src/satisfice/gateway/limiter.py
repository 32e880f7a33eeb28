"""Who may send requests, and how many at once."""

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from satisfice.gateway.failures import RequestRefused
from satisfice.gateway.settings import Limits

MINUTE = 60.0  # seconds


@dataclass(eq=False)
class Client:
    """Whoever holds one key, or everybody where there are no keys."""

    name: str = "anybody"  # of a key a part of its digest, which tells nobody the key
    running: int = 0
    spent: deque[tuple[float, int]] = field(default_factory=deque)  # (monotonic seconds, tokens), one minute of it

    def spend(self, tokens: int) -> None:
        """Record that tokens were sampled for it."""
        self.spent.append((time.monotonic(), tokens))

    def spent_in_a_minute(self) -> int:
        """Return tokens in the last minute."""
        while self.spent and self.spent[0][0] < time.monotonic() - MINUTE:
            self.spent.popleft()
        return sum(tokens for _, tokens in self.spent)


def name_of(key: str) -> str:
    """Return what metrics and logs call a key: a part of its digest.

    >>> name_of("secret")
    'key-2bb80d53'
    """
    return "key-" + hashlib.sha256(key.encode()).hexdigest()[:8]


class ConnectionLimiter:
    """Checks keys and counts what runs. Without keys everybody is one client."""

    def __init__(self, keys: tuple[str, ...], limits: Limits) -> None:
        self._clients: dict[bytes, Client] = {}
        self._anybody = Client()
        self.running = 0
        self.configure(keys, limits)

    def configure(self, keys: tuple[str, ...], limits: Limits) -> None:
        """Take new keys and limits; what a kept key has spent stays."""
        self._clients = {key.encode(): self._clients.get(key.encode(), Client(name=name_of(key))) for key in keys}
        self._limits = limits

    def client(self, authorization: str, api_key: str = "") -> Client:
        """Who sends a request, by its `Authorization` header, or by that with the key alone (`x-api-key`)."""
        if not self._clients:
            return self._anybody
        kind, _, key = authorization.partition(" ")
        given = (key if kind.lower() == "bearer" else api_key).strip().encode("latin-1", "replace")
        found = [client for known, client in self._clients.items() if hmac.compare_digest(known, given)]
        if not found:
            raise RequestRefused(
                401, "No valid API key. Send it as `Authorization: Bearer KEY`.", code="invalid_api_key"
            )
        return found[0]

    @contextmanager
    def slot(self, client: Client) -> Iterator[None]:
        """Hold a place while a request runs; `RequestRefused` when there is none."""
        limits, most = self._limits, self._limits.tokens_per_minute
        if self.running >= limits.at_once or client.running >= limits.at_once_per_key:
            raise RequestRefused(
                429, "Too many requests at once. Try again soon.", code="rate_limit_exceeded", retry_s=1
            )
        if most is not None and client.spent_in_a_minute() >= most:
            raise RequestRefused(
                429, f"This key has spent its {most} tokens of a minute. Try again later.", code="rate_limit_exceeded",
                retry_s=max(1.0, client.spent[0][0] + MINUTE - time.monotonic()),
            )  # fmt: skip
        self.running += 1
        client.running += 1
        try:
            yield
        finally:
            self.running -= 1
            client.running -= 1
