"""The log: a line of JSON a record on stderr, or plain text for who reads it on a terminal."""

from __future__ import annotations

import json
import logging
import sys
import time
from functools import lru_cache
from typing import Any

import orjson

from sensedict_server.work import current

# What the line of a request says beside its message; docs/operations.md tells of each.
FIELDS = ("request_id", "method", "path", "route", "dictionary", "key", "status", "milliseconds", "bytes")
log = logging.getLogger("sensedict.service")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the fields that a record was given through `extra`."""
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}",
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
        line = " ".join([said, *(f"{name}={_shown(value)}" for name, value in _fields(record).items())])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def log_to_stderr(level: str = "info", style: str | None = None) -> None:
    """Send this process's log to stderr; what libraries tell of their steps is left out.

    Args:
        level: the least that is told; `warning` leaves out the requests that were answered.
        style: `json` or `text`; None for text on a terminal and JSON elsewhere.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line tells of them
    plain = sys.stderr.isatty() if style is None else style == "text"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLines() if plain else JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in (log.name, "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())


def log_request(level: int, fields: dict[str, Any]) -> None:
    """Log a request that is over; `Logger.log` would look for the line of code that asks, on every request."""
    if log.isEnabledFor(level):
        record = logging.LogRecord(log.name, level, "", 0, "request", None, None)
        vars(record).update(fields)
        log.handle(record)


def _shown(value: object) -> str:
    """A value on its line: a path may hold line ends, and what a terminal obeys."""
    text = str(value)
    return text if text.isprintable() else repr(text)


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def _encode(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line).decode()
    except TypeError:  # half of a surrogate pair, out of a name that is no UTF-8
        return json.dumps(line)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the record was given, and the id of the request in whose course it was made."""
    given = vars(record)
    found = {name: given[name] for name in FIELDS if given.get(name) is not None}
    work = current.get()
    return found if work is None or "request_id" in found else {"request_id": work.request_id, **found}
