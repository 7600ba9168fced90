"""The last step of a build: a draft becomes a published dictionary, in the database and as a file set, or nothing does.

Everything happens in one transaction, the writing of the files too. Killed before the commit, nothing is there; killed
between the commit and the renaming of the folder, the dictionary is there and `files.ensure` writes its set anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector import HalfVector
from sqlalchemy import Connection, Engine, func, insert, text, update
from sqlalchemy.exc import IntegrityError

from sensedict.errors import Conflict, InvalidInput, LexiconNotFound
from sensedict.wire import LATEST
from sensedict_server import files
from sensedict_server.build.check import check, check_types
from sensedict_server.build.contents import Draft
from sensedict_server.build.copying import copy_rows
from sensedict_server.lifecycle import Because, move_alias, record, user_name
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary, find_lexicon_by_id
from sensedict_server.queries.lexicons import count_relations, relation_words
from sensedict_server.queries.versions import find_tombstone
from sensedict_server.tables import (
    contexts,
    dictionaries,
    dictionary_words,
    senses,
    tokens,
)

_AT_ONCE = 4096  # senses that are copied between two reports of progress


def publish(
    engine: Engine,
    files_root: Path,
    draft: Draft,
    advance: Callable[[int], object] = lambda rows: None,
    because: Because | None = None,
    keep_draft: bool = False,
) -> Dictionary:
    """Store the draft as a published dictionary, write its file set and move the alias `latest` to it.

    Args:
        advance: told numbers of rows copied and written; what it raises ends the work, and nothing is published.
        because: who publishes it and why, for its history; None: whoever runs this, because it was built.
        keep_draft: leave it a draft, for `publish_draft`; administrators alone see it.

    Raises:
        InvalidInput: the draft is not whole; names the token, word or sense.
        Conflict: the name and version are taken, or the lexicon is not published.
        LexiconNotFound: there is no such lexicon.
    """
    check(draft)
    because = because or Because(user_name(), "built")
    ref = f"{draft.name}@{draft.version}"
    with files.locked(files_root, ref), files.temporary(files_root, ref) as new:
        try:
            with engine.begin() as connection:
                dictionary_id, content_hash = _insert(connection, draft, new, advance)
                if keep_draft:
                    _keep(connection, dictionary_id, draft, content_hash, because)
                else:
                    freeze(connection, dictionary_id, draft.name, draft.version, content_hash, because)
        except IntegrityError as error:
            if isinstance(error.orig, psycopg.errors.UniqueViolation):  # published by another process meanwhile
                raise Conflict(f"{ref} is published already: choose another version") from error
            raise
        files.put_in_place(new, files.folder(files_root, ref))
    with engine.connect() as connection:
        found = find_dictionary(connection, draft.name, draft.version, keep_draft)
        if found is None:
            raise Conflict(f"{ref} was removed while it was being published")
        return found


def freeze(
    connection: Connection, dictionary_id: int, name: str, version: str, content_hash: str, because: Because
) -> None:
    """Make a published dictionary of a draft whose files have that hash, and let `latest` name it."""
    connection.execute(
        update(dictionaries)
        .where(dictionaries.c.id == dictionary_id)
        .values(state="published", content_hash=content_hash, published_at=func.now())
    )
    record(connection, "dictionary", name, version, "publish", because, content_hash=content_hash)
    move_alias(connection, name, LATEST, dictionary_id, version, because)


def _keep(connection: Connection, dictionary_id: int, draft: Draft, content_hash: str, because: Because) -> None:
    connection.execute(update(dictionaries).where(dictionaries.c.id == dictionary_id).values(content_hash=content_hash))
    record(connection, "dictionary", draft.name, draft.version, "draft", because, content_hash=content_hash)


def _insert(connection: Connection, draft: Draft, new: Path, advance: Callable[[int], object]) -> tuple[int, str]:
    """Write the draft's rows and files; gives the row's id and the files' content hash."""
    lexicon = _check_against_database(connection, draft)
    row = _row(draft)
    dictionary_id = connection.execute(insert(dictionaries).values(row).returning(dictionaries.c.id)).scalar_one()
    _copy_tokens(connection, dictionary_id, draft)
    _copy_words(connection, dictionary_id, draft)
    _copy_senses(connection, dictionary_id, draft, advance)
    _copy_contexts(connection, dictionary_id, draft)
    # Statistics for the planner: an embedded server may stop before its autovacuum comes by.
    connection.execute(text("ANALYZE tokens, dictionary_words, senses, contexts"))
    content = files.Content(
        dictionary_id=dictionary_id,
        lexicon_id=draft.lexicon_id,
        identity={name: row[name] for name in files.IDENTITY_FIELDS},
        lexicon=lexicon,
        settings=draft.settings,
    )
    return int(dictionary_id), files.write(connection, content, new, advance)


def _check_against_database(connection: Connection, draft: Draft) -> str:
    """The name@version of the draft's lexicon, once everything that the draft says of it is true."""
    lexicon = find_lexicon_by_id(connection, draft.lexicon_id)
    if lexicon is None:
        raise LexiconNotFound(f"there is no lexicon {draft.lexicon_id}: load one with `sensedict lexicon`")
    if not lexicon.published:
        raise Conflict(f"the lexicon {lexicon.ref} is a draft: publish it first")
    _refuse_taken(connection, draft)
    check_types(draft.settings, {count.type for count in count_relations(connection, draft.lexicon_id)})
    known = np.array([word_id for word_id, _ in relation_words(connection, draft.lexicon_id)], dtype=np.int64)
    _refuse(np.setdiff1d(known, draft.words.word_ids), f"words of relations of {lexicon.ref} are missing in the draft")
    _refuse(np.setdiff1d(draft.words.word_ids, known), f"words of the draft are in no relation of {lexicon.ref}")
    return lexicon.ref


def _refuse_taken(connection: Connection, draft: Draft) -> None:
    ref = f"{draft.name}@{draft.version}"
    there = find_dictionary(connection, draft.name, draft.version, drafts=True)
    if there is not None and there.ref != ref:
        raise Conflict(f"{ref} is an alias, of {there.ref}: choose another version")
    if there is not None and there.state == "draft":
        raise Conflict(
            f"{ref} is a draft already: publish it with `sensedict dictionary publish`, delete it, or choose another "
            "version"
        )
    if there is not None:
        raise Conflict(f"{ref} is published already: choose another version")
    tombstone = find_tombstone(connection, "dictionary", draft.name, draft.version)
    if tombstone is not None:
        raise Conflict(f"{tombstone.told()}; a version never comes back")


def _refuse(word_ids: Any, what: str) -> None:
    if len(word_ids):
        raise InvalidInput(f"{len(word_ids)} {what}, ids {word_ids[:5].tolist()}: compose the words of this lexicon")


def _row(draft: Draft) -> dict[str, Any]:
    counts = _word_ranges(draft)[1]
    return {
        "name": draft.name,
        "version": draft.version,
        "lexicon_id": draft.lexicon_id,
        "teacher": draft.teacher,
        "teacher_hash": draft.teacher_hash,
        "tokenizer_hash": draft.tokenizer_hash,
        "vocabulary_size": len(draft.tokens.texts),
        "dim": draft.tokens.vectors.shape[1],
        "state_point": draft.state_point,
        "key_policy": draft.key_policy,
        "k": draft.k,
        "settings": draft.settings,
        "senses": len(draft.tokens.vectors) + len(draft.words.vectors),
        "tokens_with_senses": int((np.diff(draft.tokens.offsets) > 0).sum()),
        "words_with_senses": sum(count > 0 for count in counts),
    }


def _word_ranges(draft: Draft) -> tuple[list[int], list[int]]:
    """First sense and number of senses of each word: its token's where it is one token, else its own."""
    token_offsets, word_offsets = draft.tokens.offsets, draft.words.offsets
    after_tokens = len(draft.tokens.vectors)
    first, count = [], []
    for row, token_ids in enumerate(draft.words.token_ids):
        if len(token_ids) == 1:
            start, stop = token_offsets[token_ids[0]], token_offsets[token_ids[0] + 1]
        else:
            start, stop = word_offsets[row] + after_tokens, word_offsets[row + 1] + after_tokens
        first.append(int(start))
        count.append(int(stop - start))
    return first, count


def _copy_tokens(connection: Connection, dictionary_id: int, draft: Draft) -> None:
    offsets = draft.tokens.offsets.tolist()
    copy_rows(
        connection,
        tokens,
        {
            "dictionary_id": "int8",
            "token_id": "int4",
            "text": "text",
            "occurrences": "int8",
            "first_sense": "int8",
            "sense_count": "int2",
        },
        (
            (dictionary_id, token, _storable(spelt), occurrences, offsets[token], offsets[token + 1] - offsets[token])
            for token, (spelt, occurrences) in enumerate(
                zip(draft.tokens.texts, draft.tokens.occurrences.tolist(), strict=True)
            )
        ),
    )


def _copy_words(connection: Connection, dictionary_id: int, draft: Draft) -> None:
    first, count = _word_ranges(draft)
    copy_rows(
        connection,
        dictionary_words,
        {
            "dictionary_id": "int8",
            "word_id": "int8",
            "token_ids": "int4[]",
            "first_sense": "int8",
            "sense_count": "int2",
            "reason": "text",
        },
        (
            (dictionary_id, word_id, list(token_ids), first[row], count[row], _storable(reason))
            for row, (word_id, token_ids, reason) in enumerate(
                zip(draft.words.word_ids.tolist(), draft.words.token_ids, draft.words.reasons, strict=True)
            )
        ),
    )


def _copy_senses(connection: Connection, dictionary_id: int, draft: Draft, advance: Callable[[int], object]) -> None:
    token, word = draft.tokens, draft.words

    def rows() -> Iterable[Sequence[Any]]:
        for owner, ordinal, row in _owned(token.offsets, advance):
            vector = HalfVector(token.vectors[row])
            yield (dictionary_id, row, owner, None, ordinal, int(token.counts[row]), float(token.inertia[row]), vector)
        for owner, ordinal, row in _owned(word.offsets, advance):
            sense_id, word_id = len(token.vectors) + row, int(word.word_ids[owner])
            yield (dictionary_id, sense_id, None, word_id, ordinal, 0, 0.0, HalfVector(word.vectors[row]))

    copy_rows(
        connection,
        senses,
        {
            "dictionary_id": "int8",
            "sense_id": "int8",
            "token_id": "int4",
            "word_id": "int8",
            "ordinal": "int2",
            "count": "int8",
            "inertia": "float4",
            "vector": "halfvec",
        },
        rows(),
    )


def _owned(offsets: Any, advance: Callable[[int], object]) -> Iterable[tuple[int, int, int]]:
    """(owner, ordinal inside it, row) of every row of a ragged array."""
    bounds = offsets.tolist()
    told = 0
    for owner in range(len(bounds) - 1):
        for row in range(bounds[owner], bounds[owner + 1]):
            yield owner, row - bounds[owner], row
        if bounds[owner + 1] - told >= _AT_ONCE:
            advance(bounds[owner + 1] - told)
            told = bounds[owner + 1]


def _copy_contexts(connection: Connection, dictionary_id: int, draft: Draft) -> None:
    copy_rows(
        connection,
        contexts,
        {
            "dictionary_id": "int8",
            "sense_id": "int8",
            "ordinal": "int2",
            "text": "text",
            "start": "int4",
            "end": "int4",
        },
        (
            (dictionary_id, sense_id, ordinal, _storable(passage), start, end)
            for sense_id, passages in enumerate(draft.tokens.contexts)
            for ordinal, (passage, start, end) in enumerate(passages)
        ),
    )


def _storable(spelt: str | None) -> str | None:
    """The text with what PostgreSQL cannot hold replaced one for one, so that offsets into it stay right.

    A byte-level vocabulary has a token for the byte 0, and half a character may decode to a lone surrogate.
    """
    if spelt is None:
        return None
    return spelt.replace("\x00", "\u2400").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
