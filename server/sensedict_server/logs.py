"""The log: a line of JSON a record on stderr, or plain text for who reads it on a terminal."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from sensedict_server.work import current

# What the line of a request says beside its message; docs/operations.md tells of each.
FIELDS = ("request_id", "method", "path", "route", "dictionary", "key", "status", "milliseconds", "bytes")
log = logging.getLogger("sensedict.service")
_encode = json.JSONEncoder(ensure_ascii=False).encode  # made once: `json.dumps` would make one for every line


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the fields that a record was given through `extra`."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)


class PlainLines(logging.Formatter):
    """A log record as text: time, level, message, and the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it where there is one."""
        said = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():7} {record.getMessage()}"
        line = " ".join([said, *(f"{name}={value}" for name, value in _fields(record).items())])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def log_to_stderr(level: str = "info", style: str | None = None) -> None:
    """Send this process's log to stderr; what libraries tell of their steps is left out.

    Args:
        level: the least that is told; `warning` leaves out the requests that were answered.
        style: `json` or `text`; None for text on a terminal and JSON elsewhere.
    """
    plain = sys.stderr.isatty() if style is None else style == "text"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLines() if plain else JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in (log.name, "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the record was given, and the id of the request in whose course it was made."""
    found = {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
    work = current.get()
    return found if work is None or "request_id" in found else {"request_id": work.request_id, **found}
