"""What a running service does beside answering: it notices deletions, notes who asked, and removes what is deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain
from threading import Event, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sensedict.errors import SenseDictError
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import one_beside, takes_changes
from sensedict_server.queries.versions import withdrawn
from sensedict_server.removal import GRACE, remove_file_set, remove_withdrawn
from sensedict_server.uses import Uses

REFRESH = 1.0  # seconds between two looks: how long a deleted version is answered for
FLUSH = 30.0  # seconds between two notes of who asked
_QUICK, _LONG = 5.0, 3600.0  # seconds that a statement may take: a look; the removal of rows

_log = logging.getLogger("sensedict.service")


class Upkeep:
    """A thread beside those that answer, with a connection of its own; another one while rows are removed."""

    def __init__(self, engine: Engine, catalogue: Catalogue, uses: Uses) -> None:
        self._engine = engine
        self._catalogue, self._uses = catalogue, uses
        self._stopped = Event()
        self._failing: set[str] = set()
        self._watching = Thread(target=self._watch, name="upkeep", daemon=True)
        self._removing: Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._watching.start()

    def close(self) -> None:
        """End, and note who asked since the last note. What is being removed goes on when a service starts again."""
        self._stopped.set()
        self._watching.join(_QUICK)

    def _watch(self) -> None:
        own = one_beside(self._engine, _QUICK)
        turns = round(FLUSH / REFRESH)
        turn = 0
        while not self._stopped.wait(REFRESH):
            turn += 1
            self._turn(own, flush=turn % turns == 0)
        self._turn(own, flush=True)
        own.dispose()

    def _turn(self, own: Engine, flush: bool) -> None:
        self._try("deletions are not seen", lambda: self._catalogue.refresh(own))
        if flush:
            self._try("who asks for which version is not noted", lambda: self._uses.flush(own))
            self._try("deleted rows are not removed", lambda: self._begin_removal(own))

    def _try(self, otherwise: str, work: Callable[[], None]) -> None:
        """Do it; that the database is away, or takes no changes, is said once, and then tried again in silence."""
        try:
            work()
            self._failing.discard(otherwise)
        except (SenseDictError, SQLAlchemyError, OSError) as error:
            if otherwise not in self._failing:
                _log.warning("%s: %s", otherwise, error)
            self._failing.add(otherwise)
        except Exception:  # the thread must live: without it deleted versions would be answered for
            _log.exception("upkeep")

    def _begin_removal(self, own: Engine) -> None:
        if self._stopped.is_set() or (self._removing is not None and self._removing.is_alive()):
            return
        with own.connect() as connection:
            waiting = withdrawn(connection, "dictionary", GRACE)
            more = withdrawn(connection, "lexicon", GRACE)
            changes = takes_changes(connection)  # of a standby the rows are removed where its primary is
        for gone in waiting:  # of a draft no tombstone tells
            remove_file_set(self._catalogue.files_root, gone.ref, gone.content_hash)
        if changes and (waiting or more):
            self._removing = Thread(target=self._remove, name="removal", daemon=True)
            self._removing.start()

    def _remove(self) -> None:
        own = one_beside(self._engine, _LONG)
        try:
            for _ in chain(remove_withdrawn(own, "dictionary"), remove_withdrawn(own, "lexicon")):
                if self._stopped.is_set():
                    return
        except (SenseDictError, SQLAlchemyError) as error:
            _log.warning("deleted rows are not removed: %s; it goes on in %.0f s", error, FLUSH)
        finally:
            own.dispose()
