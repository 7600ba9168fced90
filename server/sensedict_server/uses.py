"""Who asks for which version: counted in memory, and brought to the database from time to time in one statement."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock

from sqlalchemy import Engine, func
from sqlalchemy.dialects.postgresql import insert as upsert

from sensedict_server.tables import version_uses

_MOST = 10_000  # pairs of version and key that are held while the database is away


class Uses:
    """Requests of this process by version and key. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counted: dict[tuple[str, str, str], tuple[int, datetime, datetime]] = {}

    def note(self, name: str, version: str, key_name: str) -> None:
        """Count a request.

        Args:
            key_name: empty where no key was needed.
        """
        now = datetime.now(UTC)
        which = (name, version, key_name)
        with self._lock:
            if which in self._counted or len(self._counted) < _MOST:
                requests, first, _ = self._counted.get(which, (0, now, now))
                self._counted[which] = (requests + 1, first, now)

    def flush(self, engine: Engine) -> None:
        """Add what was counted to the table; where that fails, it is counted on.

        Raises:
            Unavailable: the database does not answer, or takes no changes.
        """
        with self._lock:
            counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            _add(engine, counted)
        except BaseException:
            with self._lock:
                for which, (requests, first, last) in counted.items():
                    more, _, later = self._counted.get(which, (0, first, last))
                    self._counted[which] = (requests + more, first, later)
            raise


def _add(engine: Engine, counted: dict[tuple[str, str, str], tuple[int, datetime, datetime]]) -> None:
    """One upsert; the rows in one order for all processes, so that no two wait for each other."""
    rows = [
        {"name": name, "version": version, "key_name": key, "requests": requests, "first_at": first, "last_at": last}
        for (name, version, key), (requests, first, last) in sorted(counted.items())
    ]
    new = upsert(version_uses).values(rows)
    added = new.on_conflict_do_update(
        index_elements=["name", "version", "key_name"],
        set_={
            "requests": version_uses.c.requests + new.excluded.requests,
            "last_at": func.greatest(version_uses.c.last_at, new.excluded.last_at),
        },
    )
    with engine.begin() as connection:
        connection.execute(added)
