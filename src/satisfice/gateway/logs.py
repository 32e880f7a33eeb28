"""The log of a gateway, as text or as one JSON object per line; never what was asked or answered, and never a key."""

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger and message, and of a request what became of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(),
            **getattr(record, "request", {}),
        }  # fmt: skip
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def set_up(*, json_lines: bool, requests: bool) -> None:
    """Send the log to standard error; `requests`: with a line for each of them."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if json_lines else logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO if requests else logging.WARNING, handlers=[handler])
