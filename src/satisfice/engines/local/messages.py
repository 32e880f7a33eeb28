"""What coroutines tell the thread that owns the model."""

from typing import NamedTuple

from satisfice.engines.local.batch import Job
from satisfice.engines.local.sequence import SequenceState


class Fork(NamedTuple):
    """A sequence begins as the first `length` tokens of another."""

    child: SequenceState
    parent: SequenceState
    length: int


class Cut(NamedTuple):
    """A sequence ends after `length` tokens now."""

    state: SequenceState
    length: int


class Close(NamedTuple):
    """Nobody needs a sequence any more."""

    state: SequenceState


class Begin(NamedTuple):
    """A call of `sample`."""

    job: Job


class Cancel(NamedTuple):
    """Nobody waits for a call any more."""

    job: Job


class Stop(NamedTuple):
    """The engine is left."""


Message = Fork | Cut | Close | Begin | Cancel | Stop
