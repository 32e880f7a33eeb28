"""The log says what became of requests, and nothing of what was said."""

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from tests.engines.servers import LoopbackServer
from tests.gateway.serving import served, upstream

from satisfice.catalog import build
from satisfice.gateway.limiter import name_of
from satisfice.gateway.logs import JsonLines
from satisfice.gateway.settings import Settings

KEY = "sk-very-secret"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(self.format(record))

    log, handler = logging.getLogger("satisfice"), Kept()
    handler.setFormatter(JsonLines())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield found
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def test_a_line_for_each_request_without_its_content(lines: list[str]) -> None:
    settings = Settings(policy=build("first-cue"), keys=(KEY,))
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,HIDDEN"}}]}]
    with LoopbackServer() as server, served(upstream(server.url), settings) as gateway:
        for messages, more in (
            ([{"role": "user", "content": "HIDDEN 12 + 34"}], {}),
            ([{"role": "user", "content": "HIDDEN"}], {"temperature": "hot"}),
            ([{"role": "user", "content": "HIDDEN"}], {"satisfice": {"policy": "deer(threshold=7)"}}),
            (image, {}),
        ):
            body = {"messages": messages, **more}
            url, headers = gateway.url + "/v1/chat/completions", {"authorization": f"Bearer {KEY}"}
            httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30)
    rows = [row for line in lines if "outcome" in (row := json.loads(line))]
    assert [row["outcome"] for row in rows] == ["ok", "refused", "passed"]
    assert {row["client"] for row in rows} == {name_of(KEY)}
    [ok, _, passed] = rows
    assert (ok["policy"], ok["stopped"], ok["spent"] > 5, ok["seconds"] >= 0) == ("first-cue", ["rule"], True, True)
    assert passed["passed"] == "messages[0].content"
    for text in lines:
        assert not [secret for secret in ("HIDDEN", "12+34", KEY) if secret in text]
