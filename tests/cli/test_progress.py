"""Progress where nobody looks at a terminal: a line now and then, and nothing else."""

import io

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from satisfice.cli.common import resumable
from satisfice.cli.progress import Bar


def lines_of(steps: int, seconds: float, done: int = 0, terminal: bool = False) -> list[str]:
    """What is printed by work of so many steps, each of which takes so many seconds."""
    now = [0.0]
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200)
    with Bar(console, steps, "solving", clock=lambda: now[0]) as bar:
        bar.start(done, steps)
        for _ in range(steps - done):
            now[0] += seconds
            bar.step("chain-sum:easy deer")
    return text.getvalue().splitlines()


def test_a_line_comes_every_ten_seconds_at_first_and_every_minute_later() -> None:
    assert lines_of(30, 1.0) == [
        "10 of 30 done after 0:10, about 0:20 left: chain-sum:easy deer",
        "20 of 30 done after 0:20, about 0:10 left: chain-sum:easy deer",
    ]
    assert len(lines_of(600, 1.0)) == 5 + 9


def test_short_work_prints_nothing() -> None:
    assert lines_of(5, 1.0) == []


def test_what_was_done_before_counts_as_done_and_not_as_speed() -> None:
    first, second, *_ = lines_of(100, 5.0, done=60)
    assert first == "Going on: 60 of 100 are there already."
    assert second.startswith("62 of 100 done after 0:10, about 3:10 left")


def test_a_terminal_gets_a_bar_and_no_lines() -> None:
    assert not any("done after" in line for line in lines_of(30, 1.0, terminal=True))


def test_a_stopped_command_says_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.command()
    @resumable
    def go(limit: int = 1) -> None:
        raise KeyboardInterrupt

    assert CliRunner().invoke(app, []).exit_code == 130
