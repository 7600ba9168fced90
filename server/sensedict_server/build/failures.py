"""What is told of an error that ended a shard. Whoever has a key may read it; all of it is in the worker's log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePath

import psycopg

from sensedict.errors import SenseDictError
from sensedict_server.database import NotReached

_SHORTEST = 8  # characters; what is shorter names no host and no folder


def told(error: Exception) -> str:
    """The message of an error of ours; of any other its kind alone, since libraries name hosts, users and folders.

    What one of ours quotes of another, which it was raised from, is told by its kind too.

    >>> told(ConnectionError("connection to db.example.org:5432 refused"))
    'ConnectionError'
    """
    if isinstance(error, NotReached):
        return error.told
    if not isinstance(error, SenseDictError):
        return _kind(error)
    detail = error.detail
    for cause in _foreign_causes(error):
        kind = type(cause).__name__
        for quoted in _quotations(str(cause)):
            detail = detail.replace(f"{kind}: {quoted}", kind).replace(quoted, kind)
    return detail


def _kind(error: Exception) -> str:
    """The error's class, and what the system says: that a disk is full is the news."""
    if not isinstance(error, OSError) or error.errno is None or error.errno <= 0:
        return type(error).__name__
    name = PurePath(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes) else ""
    return f"{type(error).__name__}: {os.strerror(error.errno)}" + (f", {name}" if name else "")


def _foreign_causes(error: BaseException) -> Iterator[BaseException]:
    """Errors that it was raised from and that are not ours; the driver's are put into our words where they are met."""
    cause = error.__cause__
    while cause is not None:
        if not isinstance(cause, SenseDictError | psycopg.Error):
            yield cause
        cause = cause.__cause__


def _quotations(text: str) -> list[str]:
    """The forms in which messages quote another, the longest first."""
    forms = {text, text.partition("\n")[0], text[:200]}
    return sorted((form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True)
