"""What the routes share: dictionaries by their address, and their file sets mapped into memory."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, Engine

from sensedict import wire
from sensedict.errors import DictionaryNotFound
from sensedict.snapshot import Snapshot
from sensedict_server import files
from sensedict_server.queries import dictionaries
from sensedict_server.queries.dictionaries import Dictionary, Source
from sensedict_server.queries.filters import FilterValues, filter_values


class Catalogue:
    """Published dictionaries by address.

    What is published never changes, so a version once found is remembered, and the bulk routes answer for it while the
    database is away. Safe to use from several threads.
    """

    def __init__(self, engine: Engine, files_root: Path) -> None:
        # What is published never changes, so reads need no transaction. The rollback at the end of one would cost a
        # message to the server, and the driver drops all its prepared statements at each.
        self.engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.transactions = engine
        self._files_root = files_root
        self._found: dict[str, Dictionary] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._sources: dict[int, list[Source]] = {}
        self._filter_values: dict[int, FilterValues] = {}
        self._opening = Lock()

    def resolve(self, ref: str) -> Dictionary:
        """The dictionary that `name@version` or `name@alias` stands for; a bare name means its alias `latest`.

        Raises:
            DictionaryNotFound: naming what there is instead.
            Unavailable: the database is away and the version was not seen before.
        """
        known = self._found.get(ref)
        if known is not None:
            return known
        name, _, version = ref.partition("@")
        with self.engine.connect() as connection:
            found = dictionaries.find_dictionary(connection, name, version or wire.LATEST) if _storable(ref) else None
            if found is None:
                raise DictionaryNotFound(_not_found(connection, ref, name))
        self._found[found.ref] = found  # under the version alone: an alias moves
        return found

    def snapshot(self, dictionary: Dictionary) -> Snapshot:
        """The dictionary's file set, mapped; written from the database first where it is missing.

        It is read and compared with its hashes once, when it is opened; damaged bytes are never served.

        Raises:
            Corrupt: the files, or the database, do not hold what was published.
            Unavailable: the files are missing and the database is away.
        """
        held = self._snapshots.get(dictionary.ref)
        if held is not None:
            return held
        with self._opening:
            if dictionary.ref not in self._snapshots:
                place = files.ensure(self.transactions, self._files_root, dictionary)
                self._snapshots[dictionary.ref] = files.open_whole(place)
            return self._snapshots[dictionary.ref]

    def sources(self, connection: Connection, dictionary: Dictionary) -> list[Source]:
        """The sources of the dictionary's lexicon; counted once, a lexicon does not change either."""
        if dictionary.lexicon_id not in self._sources:
            self._sources[dictionary.lexicon_id] = dictionaries.list_sources(connection, dictionary.lexicon_id)
        return self._sources[dictionary.lexicon_id]

    def filter_values(self, connection: Connection, dictionary: Dictionary) -> FilterValues:
        """The types, sources, rules and parts of speech of the dictionary's lexicon; looked up once."""
        if dictionary.lexicon_id not in self._filter_values:
            self._filter_values[dictionary.lexicon_id] = filter_values(connection, dictionary.lexicon_id)
        return self._filter_values[dictionary.lexicon_id]

    def close(self) -> None:
        """Give the mapped files and the connections back."""
        for snapshot in self._snapshots.values():
            snapshot.close()
        self._snapshots.clear()
        self.engine.dispose()


def _storable(text: str) -> bool:
    return "\x00" not in text


def _not_found(connection: Connection, ref: str, name: str) -> str:
    known = dictionaries.versions_and_aliases(connection, name) if _storable(name) else []
    if known:
        return f"no dictionary {ref!r}; {name!r} has " + ", ".join(known)
    names = sorted({dictionary.name for dictionary in dictionaries.list_dictionaries(connection)})
    return f"no dictionary {ref!r}; there " + (f"are {', '.join(names)}" if names else "is none: `sensedict build`")
