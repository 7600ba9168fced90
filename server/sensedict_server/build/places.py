"""Names of places: one for each, however it was written."""

from __future__ import annotations

import os
import re
from pathlib import Path

_DATA_SET = "datasets:"
_LOCAL = ("file", "local")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


def store_place(work: str | Path) -> str:
    """The name of a store by which builds are compared: of a folder its whole real path, of a URL itself.

    >>> store_place("file:///nosuch/a/../b/")
    '/nosuch/b'
    >>> store_place("s3://bucket/b/")
    's3://bucket/b'
    """
    kind, _, rest = str(work).rpartition("://")
    if not kind or kind in _LOCAL:
        return os.path.realpath(rest)
    return f"{kind}://{rest.rstrip('/')}"


def is_whole_store(store: str) -> bool:
    """Whether a store is the same place whatever folder a process runs in."""
    kind, _, rest = store.rpartition("://")
    return (bool(kind) and kind not in _LOCAL) or rest.startswith("/")


def is_of_one_process(store: str) -> bool:
    """Whether a store lies in the memory of the process that opens it: no other finds anything there.

    >>> is_of_one_process("memory://b")
    True
    """
    return store.rpartition("://")[0].rpartition("::")[2] == "memory"


def is_whole_source(source: str) -> bool:
    """The same of text: a whole path, or a data set."""
    return source.startswith((_DATA_SET, "/"))


def is_whole_teacher(teacher: str) -> bool:
    """The same of a teacher: a whole path, or a name as the hub has them."""
    return teacher.startswith("/") or _HUB.fullmatch(teacher) is not None
