"""Where a relation comes from: what it was derived from, how words are built, and who judged it (DSKD §3.2)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from sensedict.lexical import Relation, Segmentation
from sensedict_server.lexicon.relations import relation_key
from sensedict_server.queries.relations import relations_by_id
from sensedict_server.queries.sources import Judgement, find_judgement
from sensedict_server.tables import lexicons, relation_sources, segmentations, words


def derivation_of(connection: Connection, lexicon_id: int, relation_id: int) -> list[Relation]:
    """The relation, the one it comes from, and so on to the original; empty where the lexicon has no such relation."""
    chain = relations_by_id(connection, lexicon_id, [relation_id])
    while chain and chain[-1].parent_id is not None:  # ends: a parent's id is smaller
        chain += relations_by_id(connection, lexicon_id, [chain[-1].parent_id])
    return chain


def segmentations_of(
    connection: Connection, lexicon_id: int, spelt: Sequence[str], source: str | None
) -> dict[str, Segmentation]:
    """How the words are built, by word; as that source has it, or else the first that was loaded."""
    query = (
        select(
            words.c.text.label("word"),
            segmentations.c.text,
            relation_sources.c.name.label("source"),
            relation_sources.c.licence,
            relation_sources.c.version,
        )
        .join(words, words.c.id == segmentations.c.word_id)
        .join(relation_sources, relation_sources.c.id == segmentations.c.source_id)
        # segmented words are stored in lower case
        .where(relation_sources.c.lexicon_id == lexicon_id, words.c.text == func.any([w.lower() for w in spelt]))
        .order_by(relation_sources.c.id.desc())
    )
    if source is not None:
        query = query.where(relation_sources.c.name == source)
    found = {row.word: Segmentation(**row._mapping) for row in connection.execute(query)}
    return {word: found[word.lower()] for word in spelt if word.lower() in found}


def judgement_of(connection: Connection, lexicon_id: int, relation: Relation) -> Judgement | None:
    """The lexicographer's judgement that added the relation to this lexicon, if one did."""
    settings = connection.execute(select(lexicons.c.settings).where(lexicons.c.id == lexicon_id)).scalar_one()
    key = relation_key(relation.word, relation.other, relation.type)
    for judged in settings.get("judgements", []):
        if judged["verdict"] == "add" and relation_key(judged["word"], judged["other"], judged["type"]) == key:
            return find_judgement(connection, judged["id"])
    return None
