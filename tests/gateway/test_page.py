"""The run page in a real browser, wide and narrow: live figures, nothing from elsewhere, nothing that sticks out."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engines.servers import LoopbackServer
from tests.gateway.serving import served, upstream

from satisfice.catalog import build
from satisfice.gateway.promise import Promise
from satisfice.gateway.settings import Settings

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def seen(address: str, width: int, folder: Path) -> str:
    """What the page holds after a while in a window so wide."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
        f"--user-data-dir={folder}", "--virtual-time-budget=4000", "--dump-dom", address,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def shown(page: str, mark: str) -> str:
    found = re.search(rf'id="{mark}"[^>]*>(.*?)</(?:dd|p|span|tbody)>', page, re.DOTALL)
    assert found
    return html.unescape(re.sub(r"<[^>]+>", " ", found[1]).strip())


def test_the_page_asks_nobody_else() -> None:
    page = Path("src/satisfice/gateway/page.html")
    text = (Path(__file__).parents[2] / page).read_text("utf-8")
    assert not re.search(r"https?://|//cdn|@import|url\(", text)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to look at the page with")
def test_the_page_shows_what_happened(tmp_path: Path) -> None:
    settings = Settings(policy=build("first-cue"), promise=Promise(changed_most=0.04))
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "12 + 34"}]}
    with LoopbackServer() as server, served(upstream(server.url), settings) as gateway:
        for _ in range(3):
            assert httpx.post(f"{gateway.url}/v1/chat/completions", json=body, trust_env=False).status_code == 200
        httpx.post(f"{gateway.url}/v1/chat/completions", json={**body, "nonsense": 1}, trust_env=False)
        figures = json.loads(httpx.get(f"{gateway.url}/figures", trust_env=False).text)
        for width in (1280, 390):
            page = seen(gateway.url + "/", width, tmp_path / str(width))
            assert shown(page, "answered") == "3"
            assert shown(page, "refused") == "1"
            assert shown(page, "spent") == str(figures["tokens"]["spent"])
            assert "first-cue" in shown(page, "stops")
            assert "the rule" in shown(page, "stops")
            assert shown(page, "saved").startswith("Not measured")
            assert shown(page, "policy") == "first-cue"
            assert shown(page, "promise").startswith("At most 2.0 % of the answers lost. Of 0 answers")
