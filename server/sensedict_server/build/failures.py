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
    for cause in _causes(error):
        instead = _stands_for(cause)
        if instead is not None:
            for quoted in _quotations(str(cause)):
                detail = detail.replace(f"{instead}: {quoted}", instead).replace(quoted, instead)
    return detail


def _kind(error: Exception) -> str:
    """The error's class, and what the system says: that a disk is full is the news."""
    if not isinstance(error, OSError) or error.errno is None or error.errno <= 0:
        return type(error).__name__
    name = PurePath(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes) else ""
    return f"{type(error).__name__}: {os.strerror(error.errno)}" + (f", {name}" if name else "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Errors that it was raised from or while they were handled, said or not: the nearest first."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _stands_for(cause: BaseException) -> str | None:
    """What is told in place of its message; None where that may be told: ours, and what a database says of rows."""
    if isinstance(cause, NotReached):
        return cause.told
    if isinstance(cause, SenseDictError) or (isinstance(cause, psycopg.Error) and cause.sqlstate is not None):
        return None
    return type(cause).__name__


def _quotations(text: str) -> list[str]:
    """The forms in which messages quote another, the longest first."""
    forms = {text, text.partition("\n")[0], text[:200], text.removeprefix(f"{NotReached.told}: ")}
    return sorted((form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True)
