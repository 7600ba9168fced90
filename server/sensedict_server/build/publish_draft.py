"""A draft that is in the database becomes a published dictionary, as it is there now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine

from sensedict.errors import Conflict, DictionaryGone, DictionaryNotFound
from sensedict_server import files
from sensedict_server.build.publish import freeze
from sensedict_server.lifecycle import Because, split_version
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary
from sensedict_server.queries.versions import find_tombstone, lock_owner
from sensedict_server.roles import unhurried


def publish_draft(
    engine: Engine, files_root: Path, ref: str, because: Because, advance: Callable[[int], object] = lambda rows: None
) -> Dictionary:
    """Publish a draft, write its file set anew and move the alias `latest` to it.

    Nobody can change its rows from the reading of the first on. Killed before the commit, it is a draft still.

    Raises:
        DictionaryNotFound: there is no such draft; DictionaryGone: it was published, and is deleted.
        Conflict: it is published already.
        InvalidInput: no name@version.
    """
    name, version = split_version(ref)
    with engine.connect() as connection:
        _draft(connection, name, version)
    with files.locked(files_root, ref), files.temporary(files_root, ref) as new:
        with engine.begin() as connection:
            unhurried(connection)
            lock_owner(connection, "dictionary", name, version)
            draft = _draft(connection, name, version)
            content_hash = files.write(connection, files.Content.of(draft), new, advance)
            freeze(connection, draft.id, name, version, content_hash, because)
        files.put_in_place(new, files.folder(files_root, ref))
    with engine.connect() as connection:
        found = find_dictionary(connection, name, version)
    if found is None:
        raise Conflict(f"{ref} was deleted while it was being published")
    return found


def _draft(connection: Connection, name: str, version: str) -> Dictionary:
    """The draft of that name and version; see `publish_draft` for what it raises."""
    found = find_dictionary(connection, name, version, drafts=True)
    if found is None or found.version != version:
        tombstone = find_tombstone(connection, "dictionary", name, version)
        if tombstone is not None:
            raise DictionaryGone(tombstone.told())
        raise DictionaryNotFound(f"there is no draft {name}@{version}: `sensedict dictionary list` has those that are")
    if found.state == "published":
        raise Conflict(f"{found.ref} is published already")
    return found
