"""The report in a real browser: it draws, it reads, nothing fails and nothing leaves the file."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here to look at the report with"),
]

WIDTHS = (1280, 390)  # pixels

# Shows the report at both widths, waits for its charts, walks through the reader, and writes down what it saw.
VISITOR = """<!doctype html><meta charset="utf-8">
<iframe width="1280" height="900" src="report.html"></iframe>
<iframe width="390" height="800" src="report.html"></iframe>
<pre id="seen"></pre>
<script>
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
async function visit(frame) {
  const page = frame.contentDocument, all = (what) => [...page.querySelectorAll(what)];
  const blank = () => all("[data-chart]").some((chart) => !chart.querySelector("svg path"));
  for (let i = 0; i < 200 && blank(); i++) await pause(100);
  const set = (id, value) => {
    page.getElementById(id).value = value;
    page.getElementById(id).dispatchEvent(new Event("change"));
  };
  set("task", "chain-sum:hard@1");
  set("policy", "deer");
  const walked = [];
  for (;;) {
    walked.push({ question: page.querySelector(".question").textContent, looks: all("#reader .chain .look").length,
                  injected: all("#reader .chain > .injected").length, cuts: all("#reader .cut").length,
                  scroll: page.scrollingElement.scrollWidth });
    const next = page.getElementById("next");
    if (next.disabled || walked.length > 100) break;
    next.click();
  }
  set("kind", "lost");
  const box = page.querySelector(".results").closest(".scroll");
  const table = () => ({
    columns: [...page.querySelector(".results thead tr").children].filter((head) => head.offsetWidth > 0).length,
    cut: box.scrollWidth > box.clientWidth + 2, sign: box.classList.contains("right"),
  });
  const folded = table();
  page.getElementById("columns").click();
  const whole = table();
  box.scrollLeft = box.scrollWidth;
  await pause(100);
  const end = table();
  return {
    width: frame.contentWindow.innerWidth, scroll: page.scrollingElement.scrollWidth, title: page.title,
    folded, whole, end,
    charts: all("[data-chart]").length, drawn: all("[data-chart] svg").length, walked, images: all("img").length,
    lost: all("#reader .badge").slice(0, 2).map((badge) => badge.textContent),
  };
}
window.addEventListener("load", async () => {
  const seen = [];
  for (const frame of document.querySelectorAll("iframe")) seen.push(await visit(frame));
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""


def browse(page: Path) -> tuple[str, str, str]:
    """The page as it stands after its scripts, what the console said, and the log of all network requests."""
    assert BROWSER is not None
    log = page.with_suffix(".netlog")
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-extensions",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files", "--enable-logging=stderr",
            f"--user-data-dir={page.parent / 'profile'}", f"--log-net-log={log}", "--virtual-time-budget=30000",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=280, check=True,
    )  # fmt: skip
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return done.stdout, console, log.read_text("utf-8", "replace")


def requests(log: str) -> list[str]:
    """What pages asked for; requests that the browser makes for itself have no page as their initiator."""
    asked = [event.get("params", {}) for event in json.loads(log)["events"]]
    return [
        params["url"]
        for params in asked
        if "initiator" in params and params["initiator"] != "not an origin" and not params["url"].startswith("file:")
    ]


@pytest.fixture(scope="module")
def visit(page: Path) -> tuple[list[dict[str, Any]], str, str]:
    visitor = page.with_name("visitor.html")
    visitor.write_text(VISITOR, "utf-8")
    dom, console, log = browse(visitor)
    seen = re.search(r'<pre id="seen">(.+?)</pre>', dom, re.DOTALL)
    assert seen is not None, f"the visit did not come to its end; the console said: {console}"
    return json.loads(html.unescape(seen[1])), console, log


def test_it_draws_and_fits_at_two_widths(visit: tuple[list[dict[str, Any]], str, str]) -> None:
    assert tuple(seen["width"] for seen in visit[0]) == WIDTHS
    for seen in visit[0]:
        assert seen["charts"] == seen["drawn"] == 5  # frontier and stops of two tasks, savings of their family
        assert seen["scroll"] <= seen["width"]
        assert all(step["scroll"] <= seen["width"] for step in seen["walked"])


def test_wide_tables_fold_and_say_when_they_are_cut_off(visit: tuple[list[dict[str, Any]], str, str]) -> None:
    wide, narrow = visit[0]
    assert wide["folded"] == {"columns": 7, "cut": False, "sign": False}
    assert narrow["folded"] == {"columns": 7, "cut": True, "sign": True}
    for seen in (wide, narrow):
        assert seen["whole"] == {"columns": 18, "cut": True, "sign": True}
        assert seen["end"] == {"columns": 18, "cut": True, "sign": False}  # at the end there is nothing more to see


def test_its_scripts_run_without_a_complaint(visit: tuple[list[dict[str, Any]], str, str]) -> None:
    bad = [line for line in visit[1].splitlines() if re.search("Uncaught|Refused|violates|rror", line)]
    assert bad == []


def test_hostile_text_stays_text(visit: tuple[list[dict[str, Any]], str, str], hostile: str) -> None:
    for seen in visit[0]:
        assert seen["title"] == "scripted: tokens saved by stopping in time"
        assert seen["images"] == 0
        assert any(hostile in step["question"] for step in seen["walked"])


def test_the_reader_walks_through_chains_with_looks_and_stops(visit: tuple[list[dict[str, Any]], str, str]) -> None:
    for seen in visit[0]:
        assert len(seen["walked"]) == 20  # 10 problems, 2 seeds
        assert all(step["looks"] > 0 for step in seen["walked"])
        stopped = [step for step in seen["walked"] if step["injected"]]
        assert stopped
        assert all(step["cuts"] == 1 for step in stopped)  # where the rule stopped is marked in the full chain
        assert seen["lost"] in ([], ["✗ wrong", "✓ right"])


def test_no_request_leaves_the_file(visit: tuple[list[dict[str, Any]], str, str], tmp_path: Path) -> None:
    assert requests(visit[2]) == []
    leaky = tmp_path / "leaky.html"  # the check itself: a page that does ask for something is found out
    leaky.write_text('<img src="http://evil.invalid/x">', "utf-8")
    assert "http://evil.invalid/x" in requests(browse(leaky)[2])
