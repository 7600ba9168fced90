"""A snapshot into the database and beside it as a file set: all of it, or nothing.

Everything is checked before a row is written; the rows go in one transaction, the file set gets its name after it.
Killed before the commit, nothing is there; killed between the commit and the renaming, `files.ensure` writes the set
from the database.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError

from sensedict import arrays
from sensedict.errors import Conflict, DictionaryNotFound, InvalidSnapshot
from sensedict.fileset import FORMAT, INDEX, MANIFEST, Manifest
from sensedict.wire import LATEST
from sensedict_server import files
from sensedict_server.build.check import check_name, check_version
from sensedict_server.fileset_tables import sync
from sensedict_server.lifecycle import Because, move_alias, record, split_version
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary
from sensedict_server.queries.imports import lexicon_state
from sensedict_server.queries.versions import version_of_alias
from sensedict_server.roles import unhurried
from sensedict_server.snapshots.check import check, check_manifest
from sensedict_server.snapshots.load import Advance, Numbering, load_dictionary, publish_row
from sensedict_server.snapshots.load_lexicon import load_lexicon, number_words
from sensedict_server.snapshots.staging import Staged


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        state: `imported`, or `present`: the database had all of it already.
        lexicon: `loaded` with the dictionary, or `shared` with those that were there.
        aliases: that name the dictionary now and did not before.
        left: aliases of the snapshot that name another version here, and still do.
    """

    dictionary: Dictionary
    state: Literal["imported", "present"]
    lexicon: Literal["loaded", "shared"]
    aliases: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Names:
    """What the dictionary and its lexicon are to be called, `name@version`; None: as in the snapshot."""

    dictionary: str | None = None
    lexicon: str | None = None

    def __post_init__(self) -> None:
        """Let pass what can be published so.

        Raises:
            InvalidInput: a name that no version can have.
        """
        for ref in (self.dictionary, self.lexicon):
            if ref is not None:
                name, version = split_version(ref)
                check_name("name", name)
                check_version(version)

    def of(self, manifest: Manifest) -> Manifest:
        """The manifest with these names."""
        name, version = split_version(self.dictionary or manifest.ref)
        identity = replace(manifest.identity, name=name, version=version)
        return replace(manifest, identity=identity, lexicon=self.lexicon or manifest.lexicon)


def import_staged(
    engine: Engine,
    root: Path,
    staged: Staged,
    because: Because,
    names: Names | None = None,
    advance: Advance = lambda rows: None,
) -> Imported:
    """Publish the dictionary of a staged snapshot, its lexicon too where it is not there, and put the files in place.

    Args:
        root: folder of the file sets; the staging folder is below it.
        advance: told numbers of rows copied; what it raises ends the work, and nothing is imported.

    Raises:
        InvalidSnapshot: the snapshot holds what cannot be; says what.
        Conflict: the dictionary's name and version, or the lexicon's, are those of another one.
    """
    if names is not None:
        staged = replace(staged, manifest=names.of(staged.manifest))
    check_manifest(staged)
    there = _present(engine, root, staged)
    if there is not None:
        return Imported(there, "present", "shared")
    check(staged)
    ref = staged.manifest.ref
    if names is not None:
        (staged.folder / MANIFEST).write_text(staged.manifest.to_json(), "utf-8")
    sync(staged.folder / MANIFEST)
    with files.locked(root, ref):
        try:
            with engine.begin() as connection:
                unhurried(connection)
                done = _insert(connection, root, staged, because, advance)
        except (DataError, IntegrityError, psycopg.DataError, psycopg.IntegrityError) as error:
            raise _refused(error, ref) from error
        files.put_in_place(staged.folder, files.folder(root, ref))
    return done


def _present(engine: Engine, root: Path, staged: Staged) -> Dictionary | None:
    """The dictionary of that name and version, if it holds what the snapshot does; None where there is none.

    Raises:
        Conflict: it holds something else, or is a draft.
    """
    name, version = split_version(staged.manifest.ref)
    with engine.connect() as connection:
        found = find_dictionary(connection, name, version, drafts=True)
    if found is None or found.version != version:
        return None
    if found.state == "draft":
        raise Conflict(f"{found.ref} is a draft here: publish or delete it, or import under another name, with `as`")
    other = None
    if found.content_hash != staged.manifest.identity.content_hash:
        other = f"the content hash {found.content_hash}, the snapshot {staged.manifest.identity.content_hash}"
    elif found.identity() != staged.manifest.identity:
        other = "another identity (teacher, tokenizer, width, …) than the snapshot"
    elif found.lexicon != staged.manifest.lexicon:
        other = f"the lexicon {found.lexicon}, the snapshot {staged.manifest.lexicon}"
    else:
        place = files.ensure(engine, root, found, oldest=FORMAT)
        record = Manifest.from_json((place / MANIFEST).read_bytes()).record
        if record is None or record.rows_hash != staged.record.rows_hash:
            other = "other texts, counts or contexts than the snapshot"
        elif record.lexicon_hash != staged.record.lexicon_hash:
            other = f"another lexicon {found.lexicon} than the snapshot"
    if other is not None:
        raise Conflict(f"{found.ref} is published here and has {other}: import it under another name, with `as`")
    return found


def _insert(connection: Connection, root: Path, staged: Staged, because: Because, advance: Advance) -> Imported:
    manifest = staged.manifest
    lexicon_id, numbering, lexicon = _lexicon(connection, root, staged, advance)
    dictionary_id = load_dictionary(connection, staged, lexicon_id, numbering, advance)
    content = files.Content(
        dictionary_id=dictionary_id,
        lexicon_id=lexicon_id,
        identity={name: getattr(manifest.identity, name) for name in files.IDENTITY_FIELDS},
        lexicon=manifest.lexicon,
        settings=manifest.settings,
    )
    index = arrays.encode(files.index_of(connection, content).to_tensors())
    if hashlib.sha256(index).hexdigest() != manifest.files[INDEX].sha256:
        raise InvalidSnapshot(f"{INDEX} does not hold the neighbours that the relations and words make")
    published_at = datetime.fromisoformat(staged.record.published_at)
    publish_row(connection, dictionary_id, manifest.identity.content_hash, published_at)
    name, version = split_version(manifest.ref)
    record(connection, "dictionary", name, version, "import", because, content_hash=manifest.identity.content_hash)
    aliases, left = _aliases(connection, staged, dictionary_id, because)
    found = find_dictionary(connection, name, version)
    if found is None:
        raise DictionaryNotFound(f"{manifest.ref} was removed while it was imported")
    return Imported(found, "imported", lexicon, aliases, left)


def _lexicon(
    connection: Connection, root: Path, staged: Staged, advance: Advance
) -> tuple[int, Numbering, Literal["loaded", "shared"]]:
    """The row of the lexicon, its words as they are numbered here, and whether it was there."""
    ref = staged.manifest.lexicon
    name, version = split_version(ref)
    there = lexicon_state(connection, name, version)
    if there is None:
        numbering = number_words(connection, staged.folder)
        return load_lexicon(connection, staged, numbering, advance), numbering, "loaded"
    lexicon_id, state = there
    if state != "published":
        raise Conflict(f"the lexicon {ref} is a draft or deleted here: import it under another name, with `lexicon-as`")
    with tempfile.TemporaryDirectory(prefix="lexicon-", dir=staged.folder) as scratch:
        _, described = files.write_lexicon(connection, lexicon_id, Path(scratch))
    if described["lexicon_hash"] != staged.record.lexicon_hash:
        raise Conflict(
            f"the lexicon {ref} is here and holds something else than the snapshot's: import that under another name, "
            "with `lexicon-as`"
        )
    return lexicon_id, number_words(connection, staged.folder), "shared"


def _aliases(
    connection: Connection, staged: Staged, dictionary_id: int, because: Because
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Aliases that name the dictionary now, and those that name another version and are left so.

    Nothing that is in use moves by an import; where the name has no `latest`, this version is it.
    """
    name, version = split_version(staged.manifest.ref)
    made, left = [], []
    for alias in sorted({*staged.aliases, LATEST}):
        check_name("alias", alias)
        before = version_of_alias(connection, name, alias)
        if before is None:
            move_alias(connection, name, alias, dictionary_id, version, because)
            made.append(alias)
        elif alias in staged.aliases:
            left.append(alias)
    return tuple(made), tuple(left)


def _refused(error: Exception, ref: str) -> Exception:
    """What a refusal of the database stands for."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, psycopg.errors.UniqueViolation):
        table = cause.diag.table_name
        if table in ("dictionaries", "lexicons", "words", "judgements", "aliases"):
            return Conflict(f"{ref} or a part of it was added by another at this moment: import it again")
    reason = str(cause).strip().splitlines()[0]
    return InvalidSnapshot(f"the database cannot hold what the snapshot does: {reason}")
