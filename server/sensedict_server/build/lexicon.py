"""Load a lexicon: read its sources, derive by negation, store all of it in one transaction, freeze it (DSKD §3.2)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from tqdm import tqdm

from sensedict.errors import Conflict, InvalidInput
from sensedict_server.build import judgements
from sensedict_server.build.check import check_name, check_version
from sensedict_server.build.lexicon_plan import SEGMENTED, Plan, Recipe, plan_lexicon
from sensedict_server.build.lexicon_rows import SourceRow, store_lexicon
from sensedict_server.build.sources import SourceSpec
from sensedict_server.lexicon.affixes import AffixTable
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.negation import derive
from sensedict_server.lexicon.readers import File, Notes
from sensedict_server.lexicon.readers.files import LICENCE_UNKNOWN
from sensedict_server.lexicon.relations import REVERSAL, Segmentation
from sensedict_server.queries.lexicons import Lexicon, find_lexicon, get_lexicon, split_ref
from sensedict_server.queries.sources import source_entries, undirected_relations

_ONE_OF_A_NAME = "uq_lexicons_name_version"
_DIRECTION_LOST = "direction unknown: load the source anew"  # of relations that the schema 0001 held
_DERIVED = "derived: "  # reasons of what was not derived; counted anew when a source is carried over


def _say_nothing(_line: str) -> None:
    """Tell nobody."""


def load_lexicon(
    engine: Engine, name: str, version: str, recipe: Recipe, say: Callable[[str], object] = _say_nothing
) -> tuple[Lexicon, bool]:
    """Gather what the recipe names and publish it as `name@version`, all of it or nothing.

    Judgements in force on lexicons of that name are obeyed. Progress bars go to stderr where that is a terminal.

    Args:
        say: told what was read and stored, a line a source.

    Returns:
        The lexicon, and whether it was loaded now: one that is there, made of the same, is left as it is.

    Raises:
        InvalidInput: a broken line (file and line are named), no relations, a source given twice, a bad name.
        Conflict: the name and version are there, made of something else, or are being loaded by another process.
        LexiconNotFound: there is no such base.
    """
    check_name("lexicon name", name)
    check_version(version)
    with engine.connect() as connection:
        plan = plan_lexicon(connection, name, recipe)
        there = get_lexicon(connection, name, version)
        if there is not None:
            _refuse_other(there, plan.settings)
            return there, False
        collection, rows = _gather(connection, plan, say)
    say(f"storing {len(collection.relations):,} relations")
    try:
        with engine.begin() as connection:
            store_lexicon(connection, name, version, plan.settings, rows, collection)
    except IntegrityError as error:
        constraint = error.orig.diag.constraint_name if isinstance(error.orig, psycopg.errors.UniqueViolation) else None
        if constraint != _ONE_OF_A_NAME:
            raise
        with engine.connect() as connection:  # another process was quicker
            there = find_lexicon(connection, f"{name}@{version}")
        _refuse_other(there, plan.settings)
        return there, False
    with engine.connect() as connection:
        return find_lexicon(connection, f"{name}@{version}"), True


def lexicon_without(engine: Engine, ref: str, without: Sequence[str]) -> Lexicon:
    """The version of a lexicon without some of its sources and what was derived from them, made unless it is there.

    It is called `NAME@VERSION-without-…`, so that the dictionary that names it says what it lacks; the last letters
    tell apart patterns that look alike, and judgements that came in between.

    Raises:
        InvalidInput: no source has such a name, kind or licence.
        LexiconNotFound: there is no such lexicon.
    """
    name, version = split_ref(ref)
    with engine.connect() as connection:
        plan = plan_lexicon(connection, name, Recipe(base=ref, without=without))
    readable = "-".join(re.sub(r"[^a-z0-9]+", "-", pattern.casefold()).strip("-") for pattern in sorted(without))
    decided = json.dumps([sorted(without), plan.settings["judgements"]])
    made = f"{version}-without-{readable}-{sha256(decided.encode()).hexdigest()[:8]}"
    return load_lexicon(engine, name, made, Recipe(base=ref, without=without))[0]


def _gather(connection: Connection, plan: Plan, say: Callable[[str], object]) -> tuple[Collection, list[SourceRow]]:
    """All relations, read, carried over, added and derived, and the rows of their sources."""
    collection = Collection(rejected=judgements.rejected(plan.judged))
    hashes = {entry["name"]: entry["sha256"] for entry in plan.settings["sources"]}
    rows = []
    for stored in plan.carried:
        kept = {why: n for why, n in stored.skipped.items() if not why.startswith(_DERIVED)}
        lost = undirected_relations(connection, stored.id)
        collection.skipped[stored.name] = Counter(kept | ({_DIRECTION_LOST: lost} if lost else {}))
        bar = tqdm(desc=f"carry {stored.name}", unit=" entries", unit_scale=True, disable=None, leave=False)
        with bar:
            collection.add(stored.name, _counted(bar, source_entries(connection, stored.id)))
        rows.append(SourceRow(stored.name, stored.licence, stored.version, stored.counted))
        say(f"{stored.name}: carried over")
    for source in plan.sources:
        before = len(collection.relations)
        rows.append(_read(source, collection, hashes[source.name]))
        say(f"{source.name}: {len(collection.relations) - before:,} relations")
    added = judgements.added(plan.judged)
    if added:
        collection.add(judgements.SOURCE, added)
        rows.append(SourceRow(judgements.SOURCE, judgements.LICENCE, f"{len(added)} added"))
    replaced: set[int] = set()
    attested = collection.words() if plan.derive_over else set()
    # untie, of tie and untie
    undoing = {max(relation.pair, key=len) for relation in collection.relations if relation.type == REVERSAL}
    for name in plan.derive_over:
        before = len(collection.relations)
        replaced |= _derive(collection, name, attested, undoing, plan.affixes)
        say(f"{name}: {len(collection.relations) - before:,} relations derived")
    if plan.settings["replaces_originals"]:
        collection.remove(replaced)
    if not collection.relations:
        raise InvalidInput("the sources hold no relations: " + ", ".join(row.name for row in rows))
    return collection, rows


def _read(source: SourceSpec, collection: Collection, sha256: str) -> SourceRow:
    notes = Notes(options=source.options, skipped=collection.skipped.setdefault(source.name, Counter()))
    reader = source.reader
    with _progress(source) as file:
        collection.add(source.name, reader.read(file, notes))
    version = source.version or notes.version or reader.version or f"sha256 {sha256[:12]}"
    return SourceRow(source.name, source.licence or notes.licence or reader.licence, version, notes.counted)


@contextmanager
def _progress(source: SourceSpec) -> Iterator[File]:
    size = source.path.stat().st_size * source.reader.passes if source.path.is_file() else None
    with tqdm(total=size, desc=source.name, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        yield File(source.path, bar.update)


def _counted(bar: tqdm[Any], entries: Iterator[Any]) -> Iterator[Any]:
    """The entries, counted by the bar."""
    for entry in entries:
        bar.update()
        yield entry


def _derive(
    collection: Collection, source: str, attested: Set[str], undoing: Set[str], affixes: AffixTable
) -> set[int]:
    """Add what negation derives over the source; gives the places of the relations that something came of."""
    segmentations: dict[str, Segmentation] = collection.segmentations.get(SEGMENTED, {})
    places = collection.of_source(source)
    skipped: Counter[str] = Counter()
    derived = derive(
        [collection.relations[place] for place in places],
        segmentations,
        attested,
        undoing,
        skipped,
        affixes,
    )
    whole = [replace(r, parent=places[r.parent], via=SEGMENTED) for r in derived if r.parent is not None]
    collection.add(source, whole)
    collection.skipped[source].update(skipped)
    return {relation.parent for relation in whole if relation.parent is not None}


def _refuse_other(there: Lexicon, settings: Mapping[str, Any]) -> None:
    """Raise when the lexicon was made from something else; where a file lies does not matter."""
    differing = list(_differing_sources(there.settings.get("sources", []), settings["sources"]))
    before, now = there.settings.get("derive", []), settings["derive"]
    if before != now:
        differing.append(f"it derives over {', '.join(before) or 'nothing'}, not over {', '.join(now) or 'nothing'}")
    elif there.settings.get("affixes", settings["affixes"]) != settings["affixes"]:
        differing.append("it derives by other affixes")
    judged = [{j["id"] for j in side.get("judgements", [])} for side in (there.settings, settings)]
    if judged[0] != judged[1]:
        changed = ", ".join(map(str, sorted(judged[0] ^ judged[1])))
        differing.append(f"judgements were made or withdrawn since ({changed})")
    if differing:
        raise Conflict(f"{there.ref} is published and differs: {'; '.join(sorted(differing))}; choose another version")


def _differing_sources(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    old, new = ({source["name"]: source for source in side} for side in (before, now))
    yield from (f"it has no source {name}" for name in new.keys() - old.keys())
    yield from (f"it has a source {name}" for name in old.keys() - new.keys())
    for name in old.keys() & new.keys():
        if old[name]["sha256"] != new[name]["sha256"]:
            hashes = f"sha256 {old[name]['sha256'][:12]}…, the file given {new[name]['sha256'][:12]}…"
            yield f"its {name} has {hashes}"
        for what, unstated in (("licence", LICENCE_UNKNOWN), ("version", "not stated"), ("options", [])):
            was, given = (side[name].get(what, unstated) for side in (old, new))
            if was != given:
                yield f"the {what} of its {name} is {was!r}, the one given {given!r}"
