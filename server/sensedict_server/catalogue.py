"""What the routes share: dictionaries by their address, and their file sets mapped into memory."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, Engine

from sensedict import wire
from sensedict.errors import DictionaryGone, DictionaryNotFound
from sensedict.lexical import FilterValues
from sensedict.snapshot import Snapshot
from sensedict_server import files, metrics
from sensedict_server.queries import dictionaries, versions
from sensedict_server.queries.dictionaries import Dictionary, Source
from sensedict_server.queries.filters import filter_values
from sensedict_server.removal import remove_file_set

_HITS, _MISSES = metrics.CATALOGUE.labels("hit"), metrics.CATALOGUE.labels("miss")


class Catalogue:
    """Published dictionaries by address, and drafts for those who may see them.

    What is published never changes, so a version once found is remembered, and the bulk routes answer for it while the
    database is away. It may be deleted, though: `refresh`, called every second, forgets it. Aliases and drafts are
    looked up each time. Safe to use from several threads.
    """

    def __init__(self, engine: Engine, files_root: Path, contexts: bool = True) -> None:
        # What is published never changes, so reads need no transaction. The rollback at the end of one would cost a
        # message to the server, and the driver drops all its prepared statements at each.
        self.engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.transactions = engine
        self.files_root = files_root
        self.contexts = contexts  # whether answers hold the passages that senses were found in
        self._found: dict[str, Dictionary] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._sources: dict[int, list[Source]] = {}
        self._filter_values: dict[int, FilterValues] = {}
        self._buried: set[int] = set()  # tombstones that were seen
        self._opening: dict[str, Lock] = {}  # by file set, so that one does not wait for another

    def resolve(self, ref: str, drafts: bool = False) -> Dictionary:
        """The dictionary that `name@version` or `name@alias` stands for; a bare name means its alias `latest`.

        Args:
            drafts: give a draft too.

        Raises:
            DictionaryNotFound: naming what there is instead.
            DictionaryGone: it is deleted; says when and why.
            Unavailable: the database is away and the version was not seen before.
        """
        known = self._found.get(ref)
        (_MISSES if known is None else _HITS).inc()
        if known is not None:
            return known
        name, _, version = ref.partition("@")
        with self.engine.connect() as connection:
            if not _storable(ref):
                raise DictionaryNotFound(_not_found(connection, ref, name))
            found = dictionaries.find_dictionary(connection, name, version or wire.LATEST, drafts)
            if found is None:
                tombstone = versions.find_tombstone(connection, "dictionary", name, version)
                if tombstone is not None:
                    raise DictionaryGone(tombstone.told())
                raise DictionaryNotFound(_not_found(connection, ref, name))
        if found.state == "published":
            self._found[found.ref] = found  # under the version alone: an alias moves
        return found

    def refresh(self, engine: Engine) -> None:
        """Forget what is deleted, with its file set, and learn what is deprecated.

        Args:
            engine: asked in place of the catalogue's own, all of whose connections may be in use.
        """
        known = list(self._found.values())
        with engine.connect() as connection:
            there = versions.still_published(connection, [dictionary.id for dictionary in known])
            buried = versions.tombstones_beside(connection, self._buried)
        for dictionary in known:
            dated = there.get(dictionary.id)
            if dated is None:
                self._found.pop(dictionary.ref, None)
                self._snapshots.pop(dictionary.ref, None)  # not closed: an answer may be on its way
            elif (dated.deprecated_at, dated.sunset_at) != (dictionary.deprecated_at, dictionary.sunset_at):
                self._found[dictionary.ref] = replace(dictionary, **vars(dated))
        for tombstone in buried:
            remove_file_set(self.files_root, tombstone.ref, tombstone.content_hash)
            self._buried.add(tombstone.id)

    def snapshot(self, dictionary: Dictionary) -> Snapshot:
        """The dictionary's file set, mapped; written from the database first where it is missing.

        It is read and compared with its hashes once, when it is opened; damaged bytes are never served.

        Raises:
            Corrupt: the files, or the database, do not hold what was published.
            DictionaryGone: it was deleted in this moment.
            Unavailable: the files are missing and the database is away.
        """
        held = self._held(dictionary)
        if held is not None:
            return held
        with self._opening.setdefault(dictionary.ref, Lock()):
            held = self._held(dictionary)
            if held is None:
                with metrics.opening():
                    held = self._snapshots[dictionary.ref] = self._open(dictionary)
                if dictionary.state == "published" and dictionary.ref not in self._found:
                    self._snapshots.pop(dictionary.ref, None)  # deleted meanwhile: `refresh` has been past it
            return held

    def at_hand(self, ref: str) -> Snapshot | None:
        """What `resolve` and `snapshot` would give for `name@version` at once, from memory."""
        known = self._found.get(ref)
        return None if known is None else self._held(known)

    def _open(self, dictionary: Dictionary) -> Snapshot:
        written = not files.folder(self.files_root, dictionary.ref).is_dir()
        place = files.ensure(self.transactions, self.files_root, dictionary)
        if written:
            self._check_there(dictionary)
        return files.open_whole(place)

    def _held(self, dictionary: Dictionary) -> Snapshot | None:
        """The mapped file set, where it is this one: a draft may have been made anew under the same address."""
        held = self._snapshots.get(dictionary.ref)
        return held if held is not None and held.identity.content_hash == dictionary.content_hash else None

    def _check_there(self, dictionary: Dictionary) -> None:
        """Remove a file set that was written while its dictionary was deleted.

        Raises:
            DictionaryGone: it was.
        """
        with self.engine.connect() as connection:
            tombstone = versions.find_tombstone(connection, "dictionary", dictionary.name, dictionary.version)
        if tombstone is not None:
            remove_file_set(self.files_root, dictionary.ref, dictionary.content_hash)
            raise DictionaryGone(tombstone.told())

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

    def infos(self, connection: Connection, found: list[Dictionary]) -> list[wire.DictionaryInfo]:
        """What there is to say of dictionaries."""
        aliases = dictionaries.aliases_of(connection, [dictionary.id for dictionary in found])
        return [
            wire.DictionaryInfo(
                **{name: getattr(each, name) for name in wire.DictionaryInfo.model_fields if hasattr(each, name)},
                aliases=aliases.get(each.id, []),
                sources=[wire.SourceInfo(**asdict(source)) for source in self.sources(connection, each)],
            )
            for each in found
        ]

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
