"""The tables, in SQLAlchemy Core. The migrations create them; `tests/service` checks that the two agree."""

from __future__ import annotations

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

words = Table(
    "words",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("language", Text, nullable=False, server_default="en"),
    Column("text", Text, nullable=False),
    UniqueConstraint("language", "text"),
    comment="Every word of any lexicon",
)
Index("ix_words_folded", func.lower(words.c.text))
Index("ix_words_prefix", func.lower(words.c.text).label("folded"), postgresql_ops={"folded": "text_pattern_ops"})

lexicons = Table(
    "lexicons",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="draft"),
    Column("settings", JSONB, nullable=False, server_default=text("'{}'")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("name", "version"),
    CheckConstraint("state IN ('draft', 'published', 'withdrawn')", name="state"),
    comment="Versions of a set of relations; published never changes",
)

relation_sources = Table(
    "relation_sources",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("lexicon_id", ForeignKey("lexicons.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("skipped", JSONB, nullable=False, server_default=text("'{}'"), comment="reason to count"),
    Column("counted", JSONB, nullable=False, server_default=text("'{}'"), comment="what else the reader counted"),
    UniqueConstraint("lexicon_id", "name"),
    comment="Where relations come from, and under which licence",
)

glosses = Table(
    "glosses",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("lexicon_id", ForeignKey("lexicons.id"), nullable=False),
    Column("source_id", ForeignKey("relation_sources.id"), nullable=False),
    Column("word_id", ForeignKey("words.id"), nullable=False),
    Column("pos", Text),
    Column("text", Text, nullable=False),
    Index(None, "lexicon_id", "word_id"),
    comment="What sources say that words mean",
)

forms = Table(
    "forms",
    metadata,
    Column("lexicon_id", ForeignKey("lexicons.id"), nullable=False),
    Column("form_id", ForeignKey("words.id"), nullable=False),
    Column("lemma_id", ForeignKey("words.id"), nullable=False),
    Column("source_id", ForeignKey("relation_sources.id"), nullable=False),
    Column("pos", Text),
    UniqueConstraint(
        "lexicon_id",
        "form_id",
        "lemma_id",
        "source_id",
        "pos",
        name="uq_forms_once",
        postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("form_id <> lemma_id", name="two_words"),
    Index(None, "lexicon_id", "lemma_id"),
    comment="Inflected forms of words",
)

segmentations = Table(
    "segmentations",
    metadata,
    Column("lexicon_id", ForeignKey("lexicons.id"), nullable=False),
    Column("source_id", ForeignKey("relation_sources.id"), primary_key=True),
    Column("word_id", ForeignKey("words.id"), primary_key=True),
    Column("text", Text, nullable=False),
    Column("pos", ARRAY(Text), nullable=False),
    comment="How words are built, for deriving relations by negation",
)

relations = Table(
    "relations",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("lexicon_id", ForeignKey("lexicons.id"), nullable=False),
    Column("word_id", ForeignKey("words.id"), nullable=False),
    Column("other_id", ForeignKey("words.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("source_id", ForeignKey("relation_sources.id"), nullable=False),
    Column("rule", Text, comment="how a derived relation was derived"),
    Column("parent_id", ForeignKey("relations.id"), comment="what a derived relation comes from"),
    Column("conflict", Boolean, nullable=False, server_default=text("false"), comment="both synonym and antonym"),
    Column("directed", Boolean, nullable=False, server_default=text("false"), comment="from word to other only"),
    Column("pos", Text, comment="part of speech, where the source has it"),
    Column("via_id", ForeignKey("relation_sources.id"), comment="whose segmentations a derived relation leans on"),
    UniqueConstraint(
        "lexicon_id",
        "word_id",
        "other_id",
        "type",
        "source_id",
        "pos",
        "rule",
        "parent_id",
        name="uq_relations_once",
        postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("word_id < other_id OR (directed AND word_id <> other_id)", name="ends_in_order"),
    CheckConstraint("parent_id < id", name="parent_before_child"),  # so no chain of derivation ends where it began
    Index(None, "lexicon_id", "word_id", "id"),
    Index(None, "lexicon_id", "other_id", "id"),
    Index(None, "parent_id"),
    Index("ix_relations_conflicts", "lexicon_id", "word_id", postgresql_where=text("conflict")),
    comment="Relations, each stored once; symmetric ones with the smaller word id first",
)

relation_glosses = Table(
    "relation_glosses",
    metadata,
    Column("lexicon_id", ForeignKey("lexicons.id"), nullable=False),
    Column("relation_id", ForeignKey("relations.id"), primary_key=True),
    Column("gloss_id", ForeignKey("glosses.id"), primary_key=True),
    Index(None, "gloss_id"),
    comment="The senses, of either word, that a source lists a relation under",
)

judgements = Table(
    "judgements",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("lexicon", Text, nullable=False, comment="name; versions made later obey"),
    Column("verdict", Text, nullable=False),
    Column("word", Text, nullable=False),
    Column("other", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("withdrawn_at", DateTime(timezone=True)),
    CheckConstraint("verdict IN ('add', 'reject')", name="verdict"),
    comment="What lexicographers add to and reject of a lexicon, whatever its sources say",
)
Index(
    "uq_judgements_in_force",
    judgements.c.lexicon,
    judgements.c.word,
    judgements.c.other,
    judgements.c.type,
    unique=True,
    postgresql_where=judgements.c.withdrawn_at.is_(None),
)

dictionaries = Table(
    "dictionaries",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("lexicon_id", ForeignKey("lexicons.id"), nullable=False),
    Column("state", Text, nullable=False, server_default="draft"),
    Column("teacher", Text, nullable=False),
    Column("teacher_hash", Text, nullable=False),
    Column("tokenizer_hash", Text, nullable=False),
    Column("vocabulary_size", Integer, nullable=False),
    Column("dim", Integer, nullable=False),
    Column("state_point", Text, nullable=False),
    Column("key_policy", Text, nullable=False),
    Column("k", Integer, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("senses", BigInteger, nullable=False),
    Column("tokens_with_senses", Integer, nullable=False),
    Column("words_with_senses", Integer, nullable=False),
    Column("content_hash", Text, comment="sha256 over the published vectors and index"),
    Column("published_at", DateTime(timezone=True)),
    Column("deprecated_at", DateTime(timezone=True), comment="do not start with it"),
    Column("sunset_at", DateTime(timezone=True), comment="may be deleted from then"),
    UniqueConstraint("name", "version"),
    CheckConstraint("state IN ('draft', 'published', 'withdrawn')", name="state"),
    CheckConstraint("sunset_at IS NULL OR sunset_at >= deprecated_at", name="sunset"),
    CheckConstraint("state <> 'draft' OR deprecated_at IS NULL", name="deprecated"),
    CheckConstraint("key_policy IN ('next', 'predicted', 'input')", name="key_policy"),
    CheckConstraint(
        "state <> 'published' OR (content_hash IS NOT NULL AND published_at IS NOT NULL)", name="published_whole"
    ),
    comment="Versions of a teacher's senses; published never changes",
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("dictionary_id", ForeignKey("dictionaries.id"), nullable=False),
    comment="Movable names of versions: name@alias",
)

tokens = Table(
    "tokens",
    metadata,
    Column("dictionary_id", ForeignKey("dictionaries.id"), primary_key=True),
    Column("token_id", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("occurrences", BigInteger, nullable=False),
    Column("first_sense", BigInteger, nullable=False),
    Column("sense_count", SmallInteger, nullable=False),
    Index(None, "dictionary_id", "text"),
    comment="The teacher's vocabulary",
)
Index("ix_tokens_folded", tokens.c.dictionary_id, func.lower(tokens.c.text))
Index(
    "ix_tokens_prefix",
    tokens.c.dictionary_id,
    func.lower(tokens.c.text).label("folded"),
    postgresql_ops={"folded": "text_pattern_ops"},
)

dictionary_words = Table(
    "dictionary_words",
    metadata,
    Column("dictionary_id", ForeignKey("dictionaries.id"), primary_key=True),
    Column("word_id", ForeignKey("words.id"), primary_key=True),
    Column("token_ids", ARRAY(Integer), nullable=False),
    Column("first_sense", BigInteger, nullable=False),
    Column("sense_count", SmallInteger, nullable=False),
    Column("reason", Text, comment="why the word has no senses"),
    Column("place", BigInteger, comment="in the dictionary's order, where that is not the order of the words' ids"),
    comment="The lexicon's words under the dictionary's tokenizer; one token: the token's senses, else composed",
)

senses = Table(
    "senses",
    metadata,
    Column("dictionary_id", ForeignKey("dictionaries.id"), primary_key=True),
    Column("sense_id", BigInteger, primary_key=True),
    Column("token_id", Integer),
    Column("word_id", ForeignKey("words.id")),
    Column("ordinal", SmallInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("inertia", REAL, nullable=False),
    Column("vector", HALFVEC, nullable=False),
    ForeignKeyConstraint(["dictionary_id", "token_id"], ["tokens.dictionary_id", "tokens.token_id"]),
    CheckConstraint("(token_id IS NULL) <> (word_id IS NULL)", name="one_owner"),
    comment="Centroids, numbered densely in canonical order inside a dictionary",
)

contexts = Table(
    "contexts",
    metadata,
    Column("dictionary_id", BigInteger, primary_key=True),
    Column("sense_id", BigInteger, primary_key=True),
    Column("ordinal", SmallInteger, primary_key=True),
    Column("text", Text, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    ForeignKeyConstraint(["dictionary_id", "sense_id"], ["senses.dictionary_id", "senses.sense_id"]),
    comment="Passages in which a sense was used",
)

id_maps = Table(
    "id_maps",
    metadata,
    Column("old_id", ForeignKey("dictionaries.id"), primary_key=True),
    Column("new_id", ForeignKey("dictionaries.id"), primary_key=True),
    Column("summary", JSONB, nullable=False, comment="how it was made, and senses by state"),
    Column("content", LargeBinary, nullable=False, comment="Parquet: old_id, new_id, distance, state"),
    Column("sha256", Text, nullable=False, comment="of the content"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("old_id <> new_id", name="two_dictionaries"),
    comment="Which sense of a dictionary became which of another; published never changes",
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("published_at", DateTime(timezone=True)),
    Column("deleted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("deleted_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("kind", "name", "version"),
    CheckConstraint("kind IN ('dictionary', 'lexicon')", name="kind"),
    comment="What was published and is deleted",
)

history = Table(
    "history",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("actor", Text, nullable=False, comment="name of a key, or user of the command line"),
    Column("reason", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=text("'{}'")),
    CheckConstraint("kind IN ('dictionary', 'lexicon')", name="kind"),
    Index(None, "name", "version"),
    comment="Who did what with a version, when and why",
)

version_uses = Table(
    "version_uses",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("key_name", Text, primary_key=True, comment="empty where no key was needed"),
    Column("requests", BigInteger, nullable=False),
    Column("first_at", DateTime(timezone=True), nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
    comment="Who asked a service for which version of a dictionary, and when last; stays when that is deleted",
)

builds = Table(
    "builds",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="running"),
    Column("settings", JSONB, nullable=False),
    Column("content", JSONB, comment="what decides the result; known once teacher and text were looked at"),
    Column("store", Text, nullable=False, comment="folder or URL of the shards"),
    Column("plan", Text, comment="the server's plan that it was started from"),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('running', 'published', 'failed', 'cancelled')", name="state"),
    CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished"),
    comment="Builds of dictionaries, running and past",
)
Index(
    "uq_builds_running",
    builds.c.name,
    builds.c.version,
    unique=True,
    postgresql_where=text("state = 'running'"),
)

build_shards = Table(
    "build_shards",
    metadata,
    Column("build_id", ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("shard", Text, primary_key=True),
    Column("file", Text, comment="name in the store, another one for each attempt; null while lost"),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'"), comment="what its readers need"),
    Column("size", BigInteger, nullable=False, comment="tokens or hidden states, for progress"),
    Column("seconds", REAL, nullable=False),
    Column("worker", Text, nullable=False),
    Column("lost", SmallInteger, nullable=False, server_default=text("0"), comment="times found damaged"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="The manifest: what is made of a build, whoever made it; the first to add a shard wins",
)

build_log = Table(
    "build_log",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("build_id", ForeignKey("builds.id", ondelete="CASCADE"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("worker", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index(None, "build_id", "id"),
    comment="What happened to builds",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True, comment="sha256 of the key, which is kept nowhere"),
    Column("prefix", Text, nullable=False, comment="the key's first characters, to know it by"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), comment="null: never"),
    Column("revoked_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True), comment="about a minute late"),
    CheckConstraint("scope IN ('read', 'admin')", name="scope"),
    CheckConstraint("octet_length(hash) = 32", name="sha256"),
    comment="Who may call the service",
)
Index("uq_api_keys_in_force", api_keys.c.name, unique=True, postgresql_where=api_keys.c.revoked_at.is_(None))
