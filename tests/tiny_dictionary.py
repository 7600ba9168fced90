"""A dictionary small enough to know by heart: 40 tokens, 8 dimensions, and words that are hard to ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Engine, insert, update

from sensedict_server.build.contents import Draft, TokenSenses, WordSenses
from sensedict_server.tables import glosses, lexicons, relation_sources, relations, words

D = 8
K = 3

# Token texts, by id; a leading space as inside a sentence. The number is how many senses the token has.
TOKENS: list[tuple[str, int]] = [
    ("<pad>", 0),
    (" hot", 3),
    (" cold", 3),
    (" warm", 2),
    (" happy", 3),
    (" sad", 1),
    (" glad", 2),
    (" big", 2),
    (" small", 2),
    (" up", 2),
    (" down", 2),
    (" cat", 3),  # in no relation: known as a token alone
    (" Paris", 1),
    (" ice", 2),
    (" cream", 3),
    (" and", 3),
    ("/", 1),
    ("or", 2),
    (" un", 2),
    ("kind", 2),
    (" kind", 3),
    (" na", 2),
    ("ï", 1),
    ("ve", 2),
    (" été", 2),
    (" summer", 1),
    (" New", 2),
    (" York", 1),
    (" May", 1),
    (" may", 2),
    (" frost", 0),  # a token without senses
    ("y", 2),
    (" 日本", 1),
    ("\x00", 0),  # byte-level vocabularies have one
    ("\ud83d", 0),  # half a character
    ("a", 1),
    ("b", 1),
    (".", 2),
    (" Hot", 3),  # in no relation, but folds to a word that is
    (" u.p", 1),  # three characters, two letters
]

# Words in rising id, with their tokens.
WORDS: dict[str, tuple[int, ...]] = {
    "hot": (1,),
    "cold": (2,),
    "warm": (3,),
    "happy": (4,),
    "sad": (5,),
    "glad": (6,),
    "big": (7,),
    "small": (8,),
    "up": (9,),
    "down": (10,),
    "Paris": (12,),
    "ice cream": (13, 14),
    "and/or": (15, 16, 17),
    "unkind": (18, 19),
    "kind": (20,),
    "naïve": (21, 22, 23),
    "été": (24,),
    "summer": (25,),
    "New York": (26, 27),
    "frosty": (30, 31),  # a token without senses
    "日本": (32,),
    "a.b/c d": (35, 37, 36, 16, 17),  # more than three tokens
    "May": (28,),
    "may": (29,),
    "frost": (30,),
    "u.p": (39,),
}

# (word, other, type, source, rule, row of the parent, conflict)
RELATIONS: list[tuple[str, str, str, str, str | None, int | None, bool]] = [
    ("hot", "warm", "synonym", "thesaurus", None, None, False),
    ("happy", "glad", "synonym", "thesaurus", None, None, False),
    ("hot", "cold", "antonym", "opposites", None, None, False),
    ("happy", "sad", "antonym", "opposites", None, None, False),
    ("big", "small", "antonym", "opposites", None, None, False),
    ("up", "down", "antonym", "opposites", None, None, False),  # heads of two letters and of four
    ("cold", "ice cream", "synonym", "thesaurus", None, None, False),
    ("cold", "warm", "synonym", "thesaurus", None, None, True),
    ("cold", "warm", "antonym", "opposites", None, None, True),
    ("kind", "unkind", "negation", "opposites", None, None, False),
    ("unkind", "glad", "antonym", "opposites", None, None, False),
    ("kind", "glad", "synonym", "opposites", "negation:un-", 10, False),  # derived from the relation before
    ("naïve", "and/or", "synonym", "thesaurus", None, None, False),
    ("été", "summer", "synonym", "thesaurus", None, None, False),
    ("New York", "Paris", "synonym", "thesaurus", None, None, False),
    ("cold", "frosty", "synonym", "thesaurus", None, None, False),  # the other word has no senses
    ("hot", "a.b/c d", "synonym", "thesaurus", None, None, False),
    ("日本", "Paris", "related", "thesaurus", None, None, False),  # a type that training does not use
    ("May", "may", "synonym", "thesaurus", None, None, False),
    ("frost", "cold", "synonym", "thesaurus", None, None, False),  # a head without senses
    ("happy", "glad", "synonym", "opposites", None, None, False),  # the same pair from two sources
    ("sad", "glad", "antonym", "opposites", None, None, False),
    ("u.p", "down", "antonym", "opposites", None, None, False),  # no head: two letters
]
SOURCES = {"thesaurus": ("CC-BY-4.0", "2"), "opposites": ("Apache-2.0", "1")}  # name to licence and version


def insert_lexicon(
    engine: Engine,
    name: str = "opposites",
    version: str = "1",
    spelt: Mapping[str, str] | None = None,
    sources_of: Mapping[str, tuple[str, str]] = SOURCES,
    glossed: Sequence[tuple[str, str | None, str]] = (),
) -> tuple[int, dict[str, int]]:
    """Store and publish the relations; gives the lexicon's id and each word's id, in the order of `WORDS`.

    Args:
        spelt: words of `WORDS` that are stored with other texts.
        sources_of: name to licence and version.
        glossed: words with the part of speech and text of a gloss of the thesaurus.
    """
    with engine.begin() as connection:
        lexicon = connection.execute(
            insert(lexicons).values(name=name, version=version).returning(lexicons.c.id)
        ).scalar_one()
        ids = {
            word: connection.execute(
                insert(words).values(text=(spelt or {}).get(word, word)).returning(words.c.id)
            ).scalar_one()
            for word in WORDS
        }
        sources = {
            source: connection.execute(
                insert(relation_sources)
                .values(lexicon_id=lexicon, name=source, licence=licence, version=source_version)
                .returning(relation_sources.c.id)
            ).scalar_one()
            for source, (licence, source_version) in sources_of.items()
        }
        for word, pos, gloss in glossed:
            of = {"lexicon_id": lexicon, "source_id": sources["thesaurus"], "word_id": ids[word]}
            connection.execute(insert(glosses).values(**of, pos=pos, text=gloss))
        rows: list[int] = []
        for word, other, type_, source, rule, parent, conflict in RELATIONS:
            low, high = sorted((ids[word], ids[other]))
            row = insert(relations).values(
                lexicon_id=lexicon,
                word_id=low,
                other_id=high,
                type=type_,
                source_id=sources[source],
                rule=rule,
                parent_id=None if parent is None else rows[parent],
                conflict=conflict,
            )
            rows.append(connection.execute(row.returning(relations.c.id)).scalar_one())
        connection.execute(update(lexicons).where(lexicons.c.id == lexicon).values(state="published"))
    return lexicon, ids


def make_draft(lexicon_id: int, word_ids: dict[str, int], version: str = "1") -> Draft:
    """The dictionary `tiny@version` over that lexicon; its vectors are random with a fixed seed."""
    random = np.random.default_rng(7)
    sizes = np.array([size for _, size in TOKENS])
    n = int(sizes.sum())
    counts = np.concatenate([np.sort(random.integers(1, 100, size))[::-1] for size in sizes])
    tokens = TokenSenses(
        texts=[text for text, _ in TOKENS],
        occurrences=random.integers(0, 1000, len(TOKENS)),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        vectors=random.normal(size=(n, D)).astype(np.float16),
        counts=counts,
        inertia=random.random(n).astype(np.float32),
        contexts=[[(f"it was sense {sense} here", 7, 12)] if sense % 2 else [] for sense in range(n)],
    )
    reasons = [_reason(token_ids) for token_ids in WORDS.values()]
    composed = [
        min(max(sizes[list(token_ids)]), K) if len(token_ids) > 1 and reason is None else 0
        for token_ids, reason in zip(WORDS.values(), reasons, strict=True)
    ]
    composed_senses = WordSenses(
        word_ids=np.array([word_ids[word] for word in WORDS], dtype=np.int64),
        token_ids=list(WORDS.values()),
        offsets=np.concatenate([[0], np.cumsum(composed)]).astype(np.int64),
        vectors=random.normal(size=(sum(composed), D)).astype(np.float16),
        reasons=reasons,
    )
    return Draft(
        name="tiny",
        version=version,
        lexicon_id=lexicon_id,
        teacher="tiny-teacher",
        teacher_hash="a" * 64,
        tokenizer_hash="b" * 64,
        state_point="final_norm",
        key_policy="next",
        k=K,
        tokens=tokens,
        words=composed_senses,
        settings={"seed": 7},
    )


def _reason(token_ids: tuple[int, ...]) -> str | None:
    if len(token_ids) > 3:
        return "too many tokens"
    without = [TOKENS[token][0] for token in token_ids if not TOKENS[token][1]]
    return f"token without senses: {without[0]!r}" if without else None
