"""What went over the wire."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class Counters:
    """What went over the wire since the engine was made."""

    streams: int = 0  # requests that the server began to answer
    faults: int = 0  # tries that failed and were made again, or given up
    tokens: int = 0  # sampled tokens that arrived
    surplus: int = 0  # tokens behind a stop, which no chain kept; the server may have computed a few more
    closed: int = 0  # streams that were closed before their end
