"""A made dictionary of a real one's size and spread, published for real, and what a batch of training asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from database import made_draft
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, insert, text, update

from sensedict.snapshot import Snapshot
from sensedict_server.build.contents import Draft, TokenSenses, WordSenses
from sensedict_server.build.copying import copy_rows
from sensedict_server.build.publish import publish
from sensedict_server.tables import lexicons, relation_sources, relations
from sensedict_trainer.distil.draws import Sampling, by_token, draw

VOCABULARY = 49_152
COMPOSED = 3_000  # words of several tokens, of K senses each
K = 10
POSITIONS, SEQUENCES = 4_096, 8
_FULL, _RARE = 6_000, 14_000  # ranks: tokens with K senses, and where the last sense is
_COMMON = 50  # the most frequent tokens stand in no relation
_RELATED = 0.37  # of the other tokens with senses; makes 14% of the positions
_ANTONYMS = 0.1  # of the relations
_STEEPNESS = 1.22  # of the text: 4,096 positions hold about 1,200 distinct tokens


@dataclass(frozen=True)
class Batch:
    """What a trainer asks that has nothing yet.

    Attributes:
        tokens: (n,) uint32, the distinct tokens of the batch.
        ids: (m,) uint32, distinct senses that its draws name.
        related: share of the positions whose token has relations.
    """

    tokens: NDArray[np.uint32]
    ids: NDArray[np.uint32]
    related: float


def make(engine: Engine, files: Path, dim: int) -> Path:
    """Publish `made@1` of that width; gives its file set."""
    random = np.random.default_rng(0)
    with engine.begin() as connection:
        lexicon, word_ids, owners = _lexicon(connection, random)
    draft = _draft(lexicon, word_ids, owners, dim, random)
    return files / publish(engine, files, draft).ref


def batch(folder: Path) -> Batch:
    """The first batch of a run, drawn as the trainer draws (DSKD §4.2)."""
    asked = targets()
    with Snapshot.open(folder) as senses:
        tokens = np.unique(asked)
        candidates = by_token(senses.candidate_sets(tokens))
    sampling = Sampling(fraction=0.4, minimum=25, neighbours=25, seed=0)
    draws = [draw(str(row), part, candidates, sampling) for row, part in enumerate(np.split(asked, SEQUENCES))]
    ids = np.unique(np.concatenate([drawn.ids for drawn in draws])).astype(np.uint32)
    return Batch(tokens, ids, sum(drawn.related for drawn in draws) / POSITIONS)


def targets() -> NDArray[np.uint32]:
    """(POSITIONS,) tokens by Zipf's law."""
    weights = 1 / (np.arange(VOCABULARY) + 2.7) ** _STEEPNESS
    drawn = np.random.default_rng(1).choice(VOCABULARY, POSITIONS, p=weights / weights.sum())
    return drawn.astype(np.uint32)


def states(senses: Snapshot, tokens: NDArray[np.uint32]) -> NDArray[np.float32]:
    """(n, D) hidden states, each near a sense of its token, or anywhere where the token has none."""
    random = np.random.default_rng(2)
    first, count = senses.candidates.owners(tokens)
    near = senses.vectors[np.minimum(first + random.integers(0, np.maximum(count, 1)), len(senses.vectors) - 1)]
    return near + random.normal(scale=0.3, size=near.shape).astype(np.float32)


def _sizes() -> NDArray[np.int64]:
    """Senses of each token: rank is id."""
    ranks = np.arange(VOCABULARY)
    falling = np.ceil(K * (_RARE - ranks) / (_RARE - _FULL))
    return np.clip(falling, 0, K).astype(np.int64)


def _lexicon(connection: Connection, random: np.random.Generator) -> tuple[int, list[int], list[tuple[int, ...]]]:
    """The published lexicon `made@1`: its id, its words' ids in rising order, and the tokens of each."""
    heads = np.arange(_COMMON, _RARE)
    heads = heads[random.random(len(heads)) < _RELATED]
    owners: list[tuple[int, ...]] = [(int(token),) for token in heads]
    owners += [tuple(map(int, pair)) for pair in random.choice(_FULL, (COMPOSED, 2))]
    texts = [
        " ".join(spelt(token).strip() for token in owner) + ("" if len(owner) == 1 else str(row))
        for row, owner in enumerate(owners)
    ]
    pairs = _pairs(len(heads), random)
    kinds = np.where(random.random(len(pairs)) < _ANTONYMS, "antonym", "synonym").tolist()
    lexicon, ids = publish_lexicon(connection, texts, pairs, kinds)
    return lexicon, ids, owners


def publish_lexicon(
    connection: Connection, texts: Sequence[str], pairs: Sequence[Sequence[int]], kinds: Sequence[str]
) -> tuple[int, list[int]]:
    """Publish `made@1` with those words and relations: its id, and its words' ids in rising order.

    Args:
        pairs: places of two words each, the lower first; kinds: `synonym` or `antonym`, of each pair.
    """
    values = {"name": "made", "version": "1"}
    lexicon = connection.execute(insert(lexicons).values(values).returning(lexicons.c.id)).scalar_one()
    source = connection.execute(
        insert(relation_sources)
        .values(lexicon_id=lexicon, licence="Apache-2.0", **values)
        .returning(relation_sources.c.id)
    ).scalar_one()
    statement = text("INSERT INTO words (text) SELECT unnest(CAST(:texts AS text[])) RETURNING id")
    ids = sorted(connection.execute(statement, {"texts": texts}).scalars())
    copy_rows(
        connection,
        relations,
        {"lexicon_id": "int8", "word_id": "int8", "other_id": "int8", "type": "text", "source_id": "int8"},
        ((lexicon, ids[low], ids[high], kind, source) for (low, high), kind in zip(pairs, kinds, strict=True)),
    )
    connection.execute(update(lexicons).where(lexicons.c.id == lexicon).values(state="published"))
    return lexicon, ids


def _pairs(heads: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """Related words by place, each once: some words with very many neighbours, most with few, as in a thesaurus."""
    neighbours = np.clip(random.lognormal(np.log(10), 1, heads), 1, 200).astype(np.int64)
    one = np.repeat(np.arange(heads), neighbours)
    other = random.integers(0, heads + COMPOSED, len(one))
    low, high = np.minimum(one, other), np.maximum(one, other)
    found = np.unique(np.stack([low, high], axis=1)[low != high], axis=0)
    used = np.unique(found)
    missing = np.setdiff1d(np.arange(heads + COMPOSED), used)
    more = np.stack([random.integers(0, heads, len(missing)), missing], axis=1)
    return [tuple(pair) for pair in np.concatenate([found, more]).tolist()]


def spelt(token: int) -> str:
    """A word of lower-case letters, another for each token."""
    letters = ""
    while len(letters) < 4:
        token, letter = divmod(token, 26)
        letters += chr(ord("a") + letter)
    return " " + letters


def _draft(
    lexicon: int, word_ids: list[int], owners: list[tuple[int, ...]], dim: int, random: np.random.Generator
) -> Draft:
    sizes = _sizes()
    composed = np.array([0 if len(owner) == 1 else K for owner in owners])
    n, occurrences = int(sizes.sum()), (10_000_000 / (np.arange(VOCABULARY) + 2.7)).astype(np.int64)
    ordinals = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return made_draft(
        lexicon,
        K,
        tokens=TokenSenses(
            texts=[spelt(token) for token in range(VOCABULARY)],
            occurrences=occurrences,
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            vectors=made_vectors(n, dim, random),
            counts=100 - ordinals,
            inertia=random.random(n).astype(np.float32),
            contexts=[()] * n,
        ),
        words=WordSenses(
            word_ids=np.array(word_ids),
            token_ids=owners,
            offsets=np.concatenate([[0], np.cumsum(composed)]),
            vectors=made_vectors(int(composed.sum()), dim, random),
            reasons=[None] * len(owners),
        ),
    )


def made_vectors(n: int, dim: int, random: np.random.Generator) -> NDArray[np.float16]:
    """(n, dim) of a normal distribution."""
    found = np.empty((n, dim), np.float16)
    for start in range(0, n, 4096):
        part = found[start : start + 4096]
        part[:] = random.standard_normal(part.shape, np.float32)
    return found
