"""Lexicographers' judgements: relations added to a lexicon or rejected, whatever its sources say."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, func, insert, update
from sqlalchemy.exc import IntegrityError

from sensedict.errors import Conflict, InvalidInput
from sensedict_server.lexicon.relations import Relation, UnusableWord, normalise, relation_key
from sensedict_server.lexicon.types import directed, type_fault
from sensedict_server.queries.lexicons import list_lexicons
from sensedict_server.queries.sources import Judgement, has_relation, judgements_on
from sensedict_server.tables import judgements

SOURCE = "judgements"  # what added relations are listed under
LICENCE = "the lexicographers' own"

ADD, REJECT = "add", "reject"


def judge(
    engine: Engine, lexicon: str, verdict: str, word: str, type: str, other: str, *, reason: str, author: str
) -> Judgement:
    """Record that versions of the lexicon made from now on hold the relation (`add`), or do not (`reject`).

    Raises:
        InvalidInput: no such lexicon, a text that is no word, no reason, a misspelt type, or a relation to reject that
            no version of the lexicon holds.
        Conflict: the relation is judged already; names the judgement.
    """
    try:
        word, other = normalise(word), normalise(other)
    except UnusableWord as unusable:
        raise InvalidInput(f"the relation {word[:80]!r} {type} {other[:80]!r}: {unusable}") from unusable
    if word == other:
        raise InvalidInput(f"the relation of {word!r} with itself cannot be judged: name two words")
    if not reason.strip():
        raise InvalidInput("a judgement needs a reason, for those who come after")
    fault = type_fault(type)
    if fault:
        raise InvalidInput(f"type {type[:80]!r}: {fault}")
    word, other, type = relation_key(*directed(word, other, type))
    values = {"lexicon": lexicon, "verdict": verdict, "word": word, "other": other, "type": type}
    row = insert(judgements).values(**values, reason=reason.strip(), author=author)
    try:
        with engine.begin() as connection:
            check_lexicon(connection, lexicon)
            if verdict == REJECT and not has_relation(connection, lexicon, word, other, type):
                raise InvalidInput(f"no version of {lexicon} holds {word!r} {type} {other!r}: nothing to reject")
            return Judgement(**connection.execute(row.returning(judgements)).one()._mapping)
    except IntegrityError as error:
        with engine.connect() as connection:
            there = [j for j in judgements_on(connection, lexicon, in_force=True) if _key(j) == (word, other, type)]
        if not there:
            raise
        raise Conflict(
            f"judgement {there[0].id} by {there[0].author} says {there[0].verdict} already: `sensedict lexicon "
            f"withdraw {there[0].id}` first"
        ) from error


def check_lexicon(connection: Connection, name: str) -> None:
    """Let pass the name of a lexicon that is there.

    Raises:
        InvalidInput: it is the address of a version, or no lexicon's name.
    """
    bare = name.partition("@")[0]
    names = sorted({known.name for known in list_lexicons(connection)})
    if bare in names and bare != name:
        raise InvalidInput(f"judgements hold for every version of a lexicon: write {bare}, not {name}")
    if name not in names:
        raise InvalidInput(f"there is no lexicon {name!r}: there are {', '.join(names) or 'none'}")


def withdraw(engine: Engine, judgement_id: int) -> Judgement:
    """End a judgement: versions made from now on do not obey it. What was said, and when, stays on record.

    Raises:
        InvalidInput: there is no such judgement in force.
    """
    change = update(judgements).where(judgements.c.id == judgement_id, judgements.c.withdrawn_at.is_(None))
    with engine.begin() as connection:
        ended = connection.execute(change.values(withdrawn_at=func.now()).returning(judgements)).one_or_none()
    if ended is None:
        raise InvalidInput(f"there is no judgement {judgement_id} in force: `sensedict lexicon judgements` lists them")
    return Judgement(**ended._mapping)


def added(found: Sequence[Judgement]) -> list[Relation]:
    """The relations that judgements add."""
    return [Relation(j.word, j.other, j.type) for j in found if j.verdict == ADD]


def rejected(found: Sequence[Judgement]) -> frozenset[tuple[str, str, str]]:
    """The relations that judgements reject."""
    return frozenset(_key(j) for j in found if j.verdict == REJECT)


def _key(judgement: Judgement) -> tuple[str, str, str]:
    return relation_key(judgement.word, judgement.other, judgement.type)
