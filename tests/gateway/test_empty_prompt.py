"""A prompt without a token: refused at once by a model in this process, and the next request is served."""

import httpx
import pytest
from tests.gateway.serving import local, served

from satisfice.engines.local.engine import LocalEngine


@pytest.mark.parametrize("compiled", [None, False], ids=["kernel", "torch"])
def test_an_empty_prompt_is_refused_and_the_model_goes_on(compiled: bool | None) -> None:
    engine = LocalEngine("pocket", compiled=compiled)
    with served(local(engine)) as gateway, httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as client:
        empty = client.post("/v1/completions", json={"prompt": "", "max_tokens": 5})
        assert empty.status_code == 400, empty.text
        assert "the prompt is empty" in empty.json()["error"]["message"]
        after = client.post("/v1/completions", json={"prompt": "12 + 34", "max_tokens": 5})
        assert after.status_code == 200, after.text
