"""Sources of a lexicon as a user names them: `KIND:FILE`, with licence and version where the user states them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any

from sensedict.errors import ConfigurationError, InvalidInput
from sensedict.fileset import hash_file
from sensedict.paths import package_path
from sensedict_server.lexicon.readers import READERS, Reader
from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN, File


@dataclass(frozen=True)
class SourceSpec:
    """A source to load.

    Attributes:
        reader: what reads it.
        spec: as the user wrote it.
        path: its file or folder; for a reader that takes a name, the name.
        options: of `reader.options`.
        licence, version: as the user states them.
    """

    reader: Reader
    spec: str
    path: Path
    options: frozenset[str] = frozenset()
    licence: str | None = None
    version: str | None = None

    @property
    def name(self) -> str:
        """What the source is called in the lexicon: its kind, and the file's name where there may be several."""
        if self.reader.takes == "name":
            return f"{self.reader.kind}:{self.path}"
        return f"{self.reader.kind}:{self.path.name.split('.')[0]}" if self.reader.several else self.reader.kind

    def fingerprint(self) -> str:
        """What tells this file, folder or what a name means from another, sha256 in hex."""
        if self.reader.takes == "name":
            meant = self.reader.identify(File(self.path)) if self.reader.identify else str(self.path)
            return sha256(meant.encode()).hexdigest()
        if self.reader.takes != "folder":
            return hash_file(self.path).sha256
        # In order of name, so that the same files give the same hash wherever they lie.
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        listed = "\n".join(f"{path.relative_to(self.path)} {hash_file(path).sha256}" for path in files)
        return sha256(listed.encode()).hexdigest()

    def settings(self) -> dict[str, Any]:
        """What of it makes a lexicon this one and no other; kept with the lexicon."""
        stated = {"licence": self.licence, "version": self.version, "options": sorted(self.options)}
        found = {"name": self.name, "spec": self.spec, "sha256": self.fingerprint()}
        return {**found, **{key: value for key, value in stated.items() if value}}


def parse_source(spec: str) -> SourceSpec:
    """The source that `KIND[,OPTION…]:FILE` names; FILE may be `package:NAME/FILE`.

    Raises:
        InvalidInput: no such kind or option, or a file too few or too many.
        ConfigurationError: there is no such file, folder or package.
    """
    head, colon, file = spec.partition(":")
    kind, *options = head.split(",")
    reader = READERS.get(kind)
    if reader is None:
        raise InvalidInput(f"source {spec!r}: {kind!r} is none of {', '.join(READERS)}")
    for option in options:
        if option not in reader.options:
            known = f"its options are {', '.join(reader.options)}" if reader.options else f"{kind} has no options"
            raise InvalidInput(f"source {spec!r}: there is no option {option!r}, {known}")
    if reader.own is not None:
        if colon:
            raise InvalidInput(f"source {spec!r}: write {kind!r} alone, its file is part of sensedict")
        return SourceSpec(reader, spec, reader.own, frozenset(options))
    if not file:
        raise InvalidInput(f"source {spec!r}: write {kind}:{reader.takes.upper()}")
    return SourceSpec(reader, spec, _located(spec, reader, file), frozenset(options))


def with_stated(
    sources: Sequence[SourceSpec], licences: Sequence[str] = (), versions: Sequence[str] = ()
) -> list[SourceSpec]:
    """The sources with the licences and versions that `NAME=TEXT` states; NAME is a source's name or kind.

    Raises:
        InvalidInput: no `NAME=TEXT`, no such source, two texts for one, or the licence of a source whose is known.
    """
    by_licence = _stated(sources, "licence", licences)
    by_version = _stated(sources, "version", versions)
    for source in sources:
        if source.name in by_licence and source.reader.licence != LICENCE_UNKNOWN:
            raise InvalidInput(f"the licence of {source.name} is known, {source.reader.licence}: leave it out")
    return [
        replace(
            source,
            licence=by_licence.get(source.name, source.licence),
            version=by_version.get(source.name, source.version),
        )
        for source in sources
    ]


def with_preset(sources: Sequence[SourceSpec], release: bool) -> list[SourceSpec]:
    """The sources as they are, or as the paper's scripts read them: Wiktionary at the level of senses alone."""
    narrow = "senses-only"
    return [
        replace(source, options=source.options | {narrow}) if release and narrow in source.reader.options else source
        for source in sources
    ]


def matches(pattern: str, name: str, licence: str) -> bool:
    """Whether a source's name, kind or licence is meant; `*` stands for any letters, case does not matter.

    >>> matches("cc by-nc*", "morpholex", "CC BY-NC-SA 4.0"), matches("typed", "typed:mine", "not stated")
    (True, True)
    """
    meant = pattern.casefold()
    return any(fnmatchcase(text.casefold(), meant) for text in (name, name.partition(":")[0], licence))


def _located(spec: str, reader: Reader, file: str) -> Path:
    if reader.takes == "name":
        return Path(file)
    if reader.takes == "file":
        return package_path(file)
    folder = Path(file)
    if not folder.is_dir():
        raise ConfigurationError(f"source {spec!r}: there is no folder {file}")
    return folder


def _stated(sources: Sequence[SourceSpec], what: str, statements: Sequence[str]) -> Mapping[str, str]:
    """Source name to the text stated for it."""
    texts: dict[str, str] = {}
    for statement in statements:
        name, _, text = (part.strip() for part in statement.partition("="))
        if not name or not text:
            raise InvalidInput(f"{what} {statement!r}: write NAME=TEXT, as in synonyms='…'")
        found = [source for source in sources if name in (source.name, source.reader.kind)]
        if not found:
            names = ", ".join(source.name for source in sources)
            raise InvalidInput(f"{what} {statement!r}: no source is called {name!r}, the sources are {names}")
        for source in found:
            if texts.setdefault(source.name, text) != text:
                raise InvalidInput(f"two {what}s are stated for {source.name}: name each source once")
    return texts
