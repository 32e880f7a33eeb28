"""The tutorial on the bundled model, step by step: what its screens show is what the commands say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from tests.gateway.serving import local, served
from tests.gateway.test_faults import soon

from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.config import read_config, settings_from
from satisfice.tasks import load_task

PAGE = Path(__file__).parents[2] / "docs" / "recommend.md"
if not PAGE.is_file():
    pytest.skip("needs the docs, which only a clone has", allow_module_level=True)
BLOCKS = re.findall(r"```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def shape(line: str) -> str:
    """A line with every number as #: figures may differ by a little from one processor to the next."""
    return re.sub(r"\d[\d,.]*", "#", line).strip()


@pytest.mark.slow
def test_the_screens_are_what_the_commands_say_and_the_file_is_served_and_watched(tmp_path: Path) -> None:
    screen = BLOCKS[0].splitlines()
    command = screen[0].removeprefix("$ satisfice ").replace("runs/short", str(tmp_path)).split()
    done = subprocess.run(
        [sys.executable, "-m", "satisfice.cli", *command], capture_output=True, text=True, check=True,
        env={**os.environ, "COLUMNS": "110"},
    )  # fmt: skip
    said = {shape(line.replace(str(tmp_path), "runs/short")) for line in (done.stdout + done.stderr).splitlines()}
    assert len(screen) > 6
    assert [line for line in screen[1:] if line != "..." and shape(line) not in said] == []
    settings = settings_from(read_config(tmp_path / "serve.toml") | {"control": 0.5, "on_broken_promise": "full"})
    problems = load_task("chain-sum:easy", "eval", 24).problems
    with (
        served(local(LocalEngine()), settings) as gateway,
        openai.OpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=0) as client,
    ):
        for n, problem in enumerate(problems):
            message = {"role": "user", "content": problem.question}
            client.chat.completions.create(model="pocket", messages=[message], seed=n)  # type: ignore[list-item]
        watch = gateway.gateway.shared.watch
        assert watch is not None
        assert watch.monitor is not None
        in_full = gateway.gateway.metrics.control.n
        soon(lambda: watch.monitor is not None and watch.monitor.compared == in_full)
        assert in_full > 0
        assert not watch.monitor.broken
        assert watch.saved.n == 24
        assert watch.drifts["first_look"].requests > 0
        assert not any(drift.drifted for drift in watch.drifts.values())
