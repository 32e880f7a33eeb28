"""Progress of long work: a bar on a terminal, a line now and then where the output is kept in a file."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from satisfice.core.jobs import Listener

FIRST_S, LATER_S = 10.0, 60.0  # between two lines, at first and later


class Bar:
    """How far work of `size` steps is: `console.print`ed as a bar, or as lines where there is no terminal."""

    def __init__(self, console: Console, size: int, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._size, self._done, self._here = size, 0, 0  # `_here`: done since this process began
        self._what, self._clock = what, clock
        self._begin = self._told = clock()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._bar = self._progress.add_task(what, total=size)

    def start(self, done: int, size: int, unit: str = "") -> None:
        """Say how much was done before this process."""
        self._done, self._size = done, size
        if done:
            self.console.print(f"Going on: {done} of {size}{unit} are there already.", highlight=False)
        self._progress.update(self._bar, completed=done, total=size)

    def step(self, now: str) -> None:
        """One more step is done; `now` says what it was."""
        self._done += 1
        self._here += 1
        self._progress.update(self._bar, advance=1, description=escape(now))
        moment = self._clock()
        pause = FIRST_S if moment - self._begin < LATER_S else LATER_S
        if not self.console.is_terminal and moment - self._told >= pause and self._done < self._size:
            self._told = moment
            spent = moment - self._begin
            left = spent / self._here * (self._size - self._done)
            self.console.print(
                f"{self._done} of {self._size} done after {_time(spent)}, about {_time(left)} left: {now}",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip

    def describe(self, text: str) -> None:
        """Say what is being done."""
        self._progress.update(self._bar, description=escape(text))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class RunProgress(Bar):
    """A bar for a whole run of `size` samples or chains; `listener` is what the run reports to."""

    def __init__(
        self, console: Console, size: int, what: str = "solving", *, typed: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(console, size, what)
        self._typed = typed or {}  # how a person wrote the policies
        self.notes: list[str] = []
        self.listener = Listener(start=self.start, sample=self._sample, note=self.notes.append)

    def _sample(self, row: dict[str, Any]) -> None:
        policy = row.get("policy", self._what)
        self.step(f"{row['task']} {self._typed.get(policy, policy)}")


def _time(seconds: float) -> str:
    """Return a time as people write it.

    >>> _time(75), _time(4000)
    ('1:15', '1:06:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
