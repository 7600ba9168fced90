"""What a check finds, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from sensedict_server.queries.operations import Server
from sensedict_server.settings import Settings

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        level: `error` where something does not work, `warning` where it soon may not.
        told: what is so.
        fix: what to do; empty where all is well.
    """

    check: str
    level: Level
    told: str
    fix: str = ""


@dataclass(frozen=True)
class Scene:
    """What checks look at.

    Attributes:
        workers: processes of the service, `sensedict serve --workers`.
    """

    settings: Settings
    workers: int


@dataclass(frozen=True)
class Reached(Scene):
    """The same, with the database that answers; `asked` and `answered`: when, by this machine's clock."""

    connection: Connection
    server: Server
    asked: float
    answered: float


# A check gives findings; one that gives none found all well.
Check = Callable[[Scene], Iterator[Finding]]
DatabaseCheck = Callable[[Reached], Iterator[Finding]]
