"""Load a lexicon: read its sources, derive by negation, store all of it in one transaction, freeze it (DSKD §3.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from tqdm import tqdm

from sensedict.errors import Conflict, InvalidInput
from sensedict.fileset import hash_file
from sensedict.paths import package_path
from sensedict_server.build.check import check_name, check_version
from sensedict_server.build.lexicon_rows import SourceRow, store_lexicon
from sensedict_server.lexicon.negation import derive
from sensedict_server.lexicon.readers import READERS, File, morpholex, opposites
from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN
from sensedict_server.lexicon.relations import REVERSAL, Collection
from sensedict_server.queries.lexicons import Lexicon, find_lexicon, get_lexicon

_OWN_FILE = {opposites.READER.kind: opposites.PATH}  # kinds whose file is part of the package
_BY_USER = ("synonyms", "antonyms", "typed")  # kinds of which there may be several, named after their files


@dataclass(frozen=True)
class SourceSpec:
    """A source to load.

    Attributes:
        kind: which reader reads it; `morpholex` gives segmentations.
        spec: as the user wrote it.
        path: its file.
        licence: of a user's own list, as the user states it.
    """

    kind: str
    spec: str
    path: Path
    licence: str | None = None

    @property
    def name(self) -> str:
        """What the source is called in the lexicon: its kind, for a user's own lists with the file's name."""
        return f"{self.kind}:{self.path.name.split('.')[0]}" if self.kind in _BY_USER else self.kind


def parse_source(spec: str) -> SourceSpec:
    """The source that `KIND:FILE` names; FILE may be `package:NAME/FILE`.

    Raises:
        InvalidInput: no such kind, or a file too few or too many.
        ConfigurationError: there is no such file or package.
    """
    kind, colon, file = spec.partition(":")
    kinds = [*READERS, morpholex.KIND]
    if kind not in kinds:
        raise InvalidInput(f"source {spec!r}: {kind!r} is none of {', '.join(kinds)}")
    if kind in _OWN_FILE:
        if colon:
            raise InvalidInput(f"source {spec!r}: write {kind!r} alone, its file is part of sensedict")
        return SourceSpec(kind, spec, _OWN_FILE[kind])
    if not file:
        raise InvalidInput(f"source {spec!r}: write {kind}:FILE")
    return SourceSpec(kind, spec, package_path(file))


def with_licences(sources: Sequence[SourceSpec], stated: Sequence[str]) -> list[SourceSpec]:
    """The sources, a user's own lists with the licence that `NAME=TEXT` states; NAME is a source's name or kind.

    Raises:
        InvalidInput: no `NAME=TEXT`, no such source, a source whose licence is known, or two licences for one.
    """
    licences: dict[str, str] = {}
    for statement in stated:
        name, _, licence = (part.strip() for part in statement.partition("="))
        if not name or not licence:
            raise InvalidInput(f"licence {statement!r}: write NAME=TEXT, as in synonyms='CC BY 4.0'")
        found = [source for source in sources if name in (source.name, source.kind)]
        if not found:
            names = ", ".join(source.name for source in sources)
            raise InvalidInput(f"licence {statement!r}: no source is called {name!r}, the sources are {names}")
        for source in found:
            if source.kind not in _BY_USER:
                raise InvalidInput(f"the licence of {source.name} is known, {_describe(source).licence}: leave it out")
            if licences.setdefault(source.name, licence) != licence:
                raise InvalidInput(f"two licences are stated for {source.name}: name each source once")
    return [replace(source, licence=licences.get(source.name, source.licence)) for source in sources]


def load_lexicon(
    engine: Engine, name: str, version: str, sources: Sequence[SourceSpec], derive_over: Sequence[str] = ()
) -> tuple[Lexicon, bool]:
    """Read the sources and publish their relations as `name@version`, all of them or none.

    Args:
        sources: each is read once; a progress bar goes to stderr where that is a terminal.
        derive_over: names or kinds of sources whose relations negation is derived over; needs a `morpholex` source.

    Returns:
        The lexicon, and whether it was loaded now: one that is there with the same sources is left as it is.

    Raises:
        InvalidInput: a broken line (file and line are named), no relations, a source given twice, a bad name.
        Conflict: the name and version are there with other sources, or are being loaded by another process.
    """
    check_name("lexicon name", name)
    check_version(version)
    derived_sources = _check_sources(sources, derive_over)
    settings = {
        "sources": [_settings_of(source) for source in sources],
        "derive": derived_sources,
    }
    with engine.connect() as connection:
        there = get_lexicon(connection, name, version)
    if there is not None:
        _refuse_other(there, settings)
        return there, False
    collection = _read(sources, derived_sources)
    try:
        with engine.begin() as connection:
            store_lexicon(connection, name, version, settings, [_describe(s) for s in sources], collection)
    except IntegrityError as error:
        if isinstance(error.orig, psycopg.errors.UniqueViolation):
            raise Conflict(f"{name}@{version} was loaded by another process meanwhile: run this again") from error
        raise
    with engine.connect() as connection:
        return find_lexicon(connection, f"{name}@{version}"), True


def _check_sources(sources: Sequence[SourceSpec], derive_over: Sequence[str]) -> list[str]:
    """Names of the sources to derive over, once the sources fit together."""
    names = [source.name for source in sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidInput(f"the source {twice[0]!r} is given twice: join the files, or rename one")
    if all(source.kind == morpholex.KIND for source in sources):
        raise InvalidInput("no source of relations is given: name one, such as `--source opposites`")
    chosen = []
    for wanted in derive_over:
        found = [s.name for s in sources if wanted in (s.name, s.kind) and s.kind != morpholex.KIND]
        if not found:
            raise InvalidInput(f"cannot derive over {wanted!r}: the sources of relations are {', '.join(names)}")
        chosen += found
    segmented = any(source.kind == morpholex.KIND for source in sources)
    if chosen and not segmented:
        raise InvalidInput("deriving needs segmentations of words: add `--source morpholex:FILE`")
    if segmented and not chosen:
        raise InvalidInput("morpholex holds no relations: name the source to derive over, as in `--derive opposites`")
    return sorted(set(chosen))


def _settings_of(source: SourceSpec) -> dict[str, str]:
    settings = {"name": source.name, "spec": source.spec, "sha256": hash_file(source.path).sha256}
    return settings if source.licence is None else {**settings, "licence": source.licence}


def _describe(source: SourceSpec) -> SourceRow:
    if source.kind == morpholex.KIND:
        return SourceRow(source.name, morpholex.LICENCE, morpholex.VERSION)
    reader = READERS[source.kind]
    version = reader.version or f"sha256 {hash_file(source.path).sha256[:12]}"
    return SourceRow(source.name, source.licence or reader.licence, version)


def _refuse_other(there: Lexicon, settings: Mapping[str, Any]) -> None:
    """Raise when the lexicon was made from something else; where a file lies does not matter."""
    sources_before = {source["name"]: source for source in there.settings.get("sources", [])}
    sources_now = {source["name"]: source for source in settings["sources"]}
    old = {name: source["sha256"] for name, source in sources_before.items()}
    new = {name: source["sha256"] for name, source in sources_now.items()}
    differing = [f"it has no source {name}" for name in new.keys() - old.keys()]
    differing += [f"it has a source {name}" for name in old.keys() - new.keys()]
    differing += [
        f"its {name} has sha256 {old[name][:12]}…, the file given {new[name][:12]}…"
        for name in old.keys() & new.keys()
        if old[name] != new[name]
    ]
    for name in old.keys() & new.keys():
        licences = [given[name].get("licence", LICENCE_UNKNOWN) for given in (sources_before, sources_now)]
        if licences[0] != licences[1]:
            differing.append(f"the licence of its {name} is {licences[0]!r}, the one given {licences[1]!r}")
    before, now = there.settings.get("derive", []), settings["derive"]
    if before != now:
        differing.append(f"it derives over {', '.join(before) or 'nothing'}, not over {', '.join(now) or 'nothing'}")
    if differing:
        raise Conflict(f"{there.ref} is published and differs: {'; '.join(sorted(differing))}; choose another version")


def _read(sources: Sequence[SourceSpec], derive_over: Sequence[str]) -> Collection:
    collection = Collection()
    segmentations: dict[str, str] = {}
    for source in sources:
        skipped = collection.skipped.setdefault(source.name, Counter())
        if source.kind == morpholex.KIND:
            with _progress(source, 1) as file:
                segmentations |= morpholex.read_segmentations(file, skipped)
        else:
            reader = READERS[source.kind]
            with _progress(source, reader.passes) as file:
                collection.add(source.name, reader.read(file, skipped))
    for name in derive_over:
        _derive(collection, name, segmentations)
    if not collection.relations:
        raise InvalidInput("the sources hold no relations: " + ", ".join(source.spec for source in sources))
    return collection


@contextmanager
def _progress(source: SourceSpec, passes: int) -> Iterator[File]:
    size = source.path.stat().st_size * passes
    with tqdm(total=size, desc=source.name, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        yield File(source.path, bar.update)


def _derive(collection: Collection, source: str, segmentations: Mapping[str, str]) -> None:
    places = collection.of_source(source)
    undoing = {max(r.pair, key=len) for r in collection.relations if r.type == REVERSAL}  # untie, of tie and untie
    derived = derive(
        [collection.relations[place] for place in places],
        segmentations,
        collection.words(),
        undoing,
        collection.skipped[source],
    )
    collection.add(source, (replace(r, parent=places[r.parent]) for r in derived if r.parent is not None))
