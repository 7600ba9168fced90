"""What a lexicon is to hold: its sources, those carried over from an older version, and what is derived and judged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from sensedict.errors import InvalidInput
from sensedict_server.build import judgements
from sensedict_server.build.sources import SourceSpec, matches
from sensedict_server.lexicon.affixes import Affix, AffixTable, own_affixes, read_affixes, shipped_affixes
from sensedict_server.lexicon.readers import morpholex
from sensedict_server.lexicon.relations import relation_key
from sensedict_server.queries.lexicons import Lexicon, LexiconSource, find_lexicon, list_lexicon_sources
from sensedict_server.queries.sources import (
    Judgement,
    find_judgement,
    judgements_on,
)

DEFAULT, RELEASE = "default", "release"
PRESETS = (DEFAULT, RELEASE)
SEGMENTED = morpholex.READER.kind  # the source of segmentations
_TUPLES = ("spellings", "instead")  # fields of an affix that JSON makes lists of


@dataclass(frozen=True)
class Recipe:
    """What a lexicon is made of.

    Attributes:
        sources: files to read; one that has the name of a source carried over takes its place.
        derive_over: names or kinds of sources whose relations negation is derived over; needs a `morpholex` source.
        base: `name@version` of a lexicon whose sources are carried over, and what it derives over; None for none.
        without: names, kinds or licences of sources of the base that are left out; `*` stands for any letters.
        affixes: a table of affixes in place of the shipped one.
        preset: `default`, or `release`, which counts as the paper's scripts do.
    """

    sources: Sequence[SourceSpec] = ()
    derive_over: Sequence[str] = ()
    base: str | None = None
    without: Sequence[str] = ()
    affixes: Path | None = None
    preset: str = DEFAULT


@dataclass(frozen=True)
class Plan:
    """A recipe with its base looked up: all that decides what the lexicon will hold."""

    sources: Sequence[SourceSpec]
    carried: Sequence[LexiconSource]
    derive_over: Sequence[str]
    affixes: AffixTable
    judged: Sequence[Judgement]
    settings: Mapping[str, Any]


def plan_lexicon(connection: Connection, name: str, recipe: Recipe) -> Plan:
    """What a lexicon of that name will hold.

    Raises:
        InvalidInput: sources that do not fit together, or a base that cannot be built on.
        LexiconNotFound: there is no such base.
    """
    names = [source.name for source in recipe.sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidInput(f"the source {twice[0]!r} is given twice: join the files, or rename one")
    base = None if recipe.base is None else find_lexicon(connection, recipe.base)
    if base is None and recipe.without:
        raise InvalidInput("nothing to leave out: --without names sources of a lexicon that --from names")
    before: dict[str, Any] = {} if base is None else base.settings
    judged = _judged(connection, name, before)
    if base is not None:
        _check_base(base, judged, recipe)
    carried = [] if base is None else _carried(list_lexicon_sources(connection, base.id), recipe)
    left = [source.name for source in carried]
    known = [*left, *names, *([judgements.SOURCE] if judgements.added(judged) else [])]
    if not set(known) - {SEGMENTED, judgements.SOURCE}:
        raise InvalidInput("no source of relations is given: name one, such as `--source opposites`")
    derive_over = _derive_over(known, recipe.derive_over, before)
    if recipe.affixes is not None and not derive_over:
        raise InvalidInput(
            "--affixes does nothing unless relations are derived: name a source, as in `--derive synonyms`"
        )
    affixes = _affixes(recipe, before)
    specs = [entry for entry in before.get("sources", []) if entry["name"] in left]
    settings = {
        "sources": [*specs, *(source.settings() for source in recipe.sources)],
        "derive": derive_over,
        "affixes": _fingerprint(affixes) if derive_over else None,
        "own_affixes": _own_affixes(recipe, before, affixes),
        "replaces_originals": affixes.replaces_originals and bool(derive_over),
        "judgements": [
            {"id": j.id, "verdict": j.verdict, "word": j.word, "type": j.type, "other": j.other} for j in judged
        ],
    }
    return Plan(recipe.sources, carried, derive_over, affixes, judged, settings)


def _judged(connection: Connection, name: str, before: Mapping[str, Any]) -> list[Judgement]:
    """Judgements on lexicons of that name, and those that the base obeys though it has another name; all in force."""
    judged = {judgement.id: judgement for judgement in judgements_on(connection, name, in_force=True)}
    for obeyed in before.get("judgements", []):
        judgement = find_judgement(connection, obeyed["id"])
        if judgement is not None and judgement.withdrawn_at is None:
            judged[judgement.id] = judgement
    return [judged[id] for id in sorted(judged)]


def _affixes(recipe: Recipe, before: Mapping[str, Any]) -> AffixTable:
    """The table that is given, else that of the base, else the shipped one."""
    if recipe.affixes is not None:
        return read_affixes(recipe.affixes)
    own = before.get("own_affixes")
    if own is None:
        return shipped_affixes(recipe.preset)
    return own_affixes(Affix(**{**affix, **{name: tuple(affix[name]) for name in _TUPLES}}) for affix in own)


def _own_affixes(recipe: Recipe, before: Mapping[str, Any], affixes: AffixTable) -> list[dict[str, Any]] | None:
    """The rows of a user's table, for the versions that are made out of this one; None for a shipped table."""
    if recipe.affixes is None:
        return before.get("own_affixes")
    return [asdict(affix) for affix in affixes.affixes.values()]


def _fingerprint(affixes: AffixTable) -> str:
    """What tells this table from another, wherever its file lies."""
    listed = [sorted(map(repr, affixes.affixes.values())), sorted(affixes.lookalikes), sorted(affixes.denying)]
    return sha256(json.dumps(listed).encode()).hexdigest()


def _check_base(base: Lexicon, judged: Sequence[Judgement], recipe: Recipe) -> None:
    """Let pass a base that still holds all that its sources said, but for what is rejected now as well."""
    if base.settings.get("replaces_originals"):
        raise InvalidInput(f"{base.ref} has derived relations in place of originals: load its sources anew")
    if recipe.preset == RELEASE:
        raise InvalidInput(f"preset {RELEASE} reads sources in its own way: name them all, without a base")
    obeyed = [j for j in base.settings.get("judgements", []) if j["verdict"] == judgements.REJECT]
    rejected = judgements.rejected(judged)
    for judgement in obeyed:
        word, type_, other = judgement["word"], judgement["type"], judgement["other"]
        if relation_key(word, other, type_) not in rejected:
            raise InvalidInput(
                f"{base.ref} lacks {word!r} {type_} {other!r}, which judgement {judgement['id']} rejected and which "
                "may be there again since it was withdrawn: start from an older version, or load the sources anew"
            )


def _carried(sources: Sequence[LexiconSource], recipe: Recipe) -> list[LexiconSource]:
    """The sources of the base that are neither left out nor replaced; judgements are looked up anew."""
    replaced = {source.name for source in recipe.sources} | {judgements.SOURCE}
    there = [source for source in sources if source.name != judgements.SOURCE]
    for pattern in recipe.without:
        if pattern == judgements.SOURCE:
            raise InvalidInput("judgements cannot be left out: end one with `sensedict lexicon withdraw ID`")
        if not any(matches(pattern, source.name, source.licence) for source in there):
            listed = ", ".join(f"{source.name} ({source.licence})" for source in there)
            raise InvalidInput(
                f"cannot leave out {pattern!r}: {recipe.base} has the sources {listed}; drop that --without or name one"
            )
    return [
        source
        for source in sources
        if source.name not in replaced
        and not any(matches(pattern, source.name, source.licence) for pattern in recipe.without)
    ]


def _derive_over(known: Sequence[str], wanted: Sequence[str], before: Mapping[str, Any]) -> list[str]:
    """Names of the sources to derive over: those of the base that are left, and those wanted.

    Without segmentations what was derived before goes with them.
    """
    chosen = {name for name in before.get("derive", []) if name in known and SEGMENTED in known}
    for name in wanted:
        found = [source for source in known if name in (source, source.partition(":")[0]) and source != SEGMENTED]
        if not found:
            listed = ", ".join(source for source in known if source != SEGMENTED)
            raise InvalidInput(f"cannot derive over {name!r}: the sources of relations are {listed}")
        chosen.update(found)
    if chosen and SEGMENTED not in known:
        raise InvalidInput("deriving needs segmentations of words: add `--source morpholex:FILE`")
    if SEGMENTED in known and not chosen and not before:
        raise InvalidInput("morpholex holds no relations: name the source to derive over, as in `--derive opposites`")
    return sorted(chosen)
