"""The analysts' views, the role that reads them, and every query of docs/analytics.md on data known by heart."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ProgrammingError

from analytics_lexicon import EXTRA, GLOSSES
from sensedict_server import schema
from sensedict_server.build.lexicon import Recipe, load_lexicon
from sensedict_server.build.sources import parse_source
from sensedict_server.database import opened
from sensedict_server.queries.analytics import OF_DICTIONARY, OF_LEXICON
from sensedict_server.settings import Settings
from tiny_dictionary import RELATIONS, TOKENS, WORDS

DOCS = (Path(__file__).resolve().parents[2] / "docs/analytics.md").read_text("utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
VIEWS = sorted(view.name for view in (*OF_LEXICON, *OF_DICTIONARY))
ROLE = "sensedict_analyst"


@pytest.fixture(scope="module")
def owner(analytics: Settings) -> Iterator[Engine]:
    """The database of `analytics_lexicon`, as its owner; change nothing in it."""
    with opened(analytics) as engine:
        yield engine


@pytest.fixture(scope="module")
def analyst(owner: Engine) -> Iterator[Engine]:
    """The same database for a user that is granted the role and nothing else."""
    user = f"ana_{os.getpid()}"
    administer(owner.url, f"CREATE ROLE {user} LOGIN IN ROLE {ROLE}")
    engine = create_engine(owner.url.set(username=user))
    yield engine
    engine.dispose()
    administer(owner.url, f"DROP ROLE {user}")


def administer(url: URL, statement: str) -> None:
    """Run a statement about roles, which belong to the whole server."""
    with psycopg.connect(url.set(drivername="postgresql", database="postgres").render_as_string()) as connection:
        connection.execute(statement.encode())


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(query).all())


def test_the_views_are_the_documented_ones(owner: Engine) -> None:
    found = rows(
        owner,
        "SELECT c.relname, obj_description(c.oid), a.attname, col_description(c.oid, a.attnum) FROM pg_class c "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 WHERE c.relnamespace = 'analytics'::regnamespace "
        "ORDER BY c.relname, a.attnum",
    )
    assert sorted({view for view, *_ in found}) == VIEWS
    written = ""
    for view in dict.fromkeys(view for view, *_ in found):
        about, *_ = (comment for name, comment, *_ in found if name == view)
        lines = [f"| `{column}` | {comment} |" for name, _, column, comment in found if name == view]
        written += "\n".join(["", f"### {view}", "", f"{about}.", "", "| column | what |", "|---|---|", *lines, ""])
    _, _, rest = DOCS.partition("<!-- views -->\n")
    assert rest.partition("<!-- end of views -->")[0] == written + "\n"


@pytest.mark.parametrize("view", VIEWS)
def test_an_analyst_sees_what_is_published(analyst: Engine, view: str) -> None:
    found = rows(analyst, f"SELECT * FROM analytics.{view}")
    assert found
    assert "draft" not in str(found)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM public.{table}",
        "INSERT INTO public.{table} DEFAULT VALUES",
        "DELETE FROM public.{table}",
        "TRUNCATE public.{table}",
        "LOCK TABLE public.{table}",
        "ALTER TABLE public.{table} ADD COLUMN more int",
    ],
)
def test_an_analyst_reaches_no_table(owner: Engine, analyst: Engine, statement: str) -> None:
    tables = rows(owner, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
    assert len(tables) > 10
    for (table,) in tables:
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            rows(analyst, statement.format(table=table))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (a int)",
        "CREATE VIEW analytics.mine AS SELECT 1 AS a",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "SELECT public.refuse_change_of_word()",
        "SELECT public.refuse_change_of_published_lexicon()",
        "DROP VIEW analytics.words",
        "UPDATE analytics.lexicons SET name = 'mine'",
        "DELETE FROM analytics.judgements",
        "SELECT nextval('public.words_id_seq')",
        "SET ROLE postgres",
        "SELECT lo_creat(-1)",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'mine')",
        "SELECT lo_import('/etc/hostname')",
    ],
)
def test_an_analyst_changes_nothing(analyst: Engine, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        rows(analyst, statement)


LEAK = """
CREATE FUNCTION pg_temp.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001
AS $$ BEGIN RAISE NOTICE 'seen: %', $1; RETURN true; END $$
"""


def test_a_function_of_an_analyst_sees_what_is_published(analyst: Engine) -> None:
    """PostgreSQL asks the cheapest condition first, and the tables hold drafts: a view must not let it through."""
    seen: set[str] = set()
    with psycopg.connect(analyst.url.set(drivername="postgresql").render_as_string(), autocommit=True) as own:
        own.add_notice_handler(lambda notice: seen.add(notice.message_primary or ""))
        own.execute(LEAK)
        own.execute("SELECT pg_temp.leak('heard')")
        assert seen == {"seen: heard"}
        for view in VIEWS:
            for column in own.execute(f"SELECT * FROM analytics.{view} LIMIT 0".encode()).description or ():
                text_of = f"{column.name}::text"
                shown = own.execute(f"SELECT DISTINCT {text_of} FROM analytics.{view}".encode()).fetchall()
                seen.clear()
                own.execute(f"SELECT count(*) FROM analytics.{view} WHERE pg_temp.leak({text_of})".encode())
                assert seen == {f"seen: {'<NULL>' if value is None else value}" for (value,) in shown}, text_of


def test_the_role_may_read_the_views_and_nothing_else(owner: Engine) -> None:
    may = rows(
        owner,
        "SELECT c.oid::regclass::text, p FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', "
        "'TRUNCATE', 'REFERENCES', 'TRIGGER']) p WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND c.relnamespace "
        "NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND c.relnamespace <> "
        f"'pg_toast'::regnamespace AND has_table_privilege('{ROLE}', c.oid, p) ORDER BY 1",
    )
    assert {tuple(row) for row in may} == {(f"analytics.{view}", "SELECT") for view in VIEWS}
    assert (
        rows(
            owner,
            f"SELECT proname FROM pg_proc WHERE starts_with(proname, 'refuse') "
            f"AND has_function_privilege('{ROLE}', oid, 'EXECUTE')",
        )
        == []
    )
    assert rows(owner, f"SELECT rolcanlogin, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = '{ROLE}'") == [
        (False, False, False)
    ]


def test_views_that_come_later_are_readable(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE VIEW analytics.later AS SELECT 1 AS a"))
        connection.execute(text(f"SET LOCAL ROLE {ROLE}"))
        assert connection.execute(text("SELECT a FROM analytics.later")).scalar_one() == 1


def test_down_and_up_give_and_take_large_objects(database: Engine) -> None:
    may = "SELECT count(*) FROM pg_proc p WHERE proname IN ('lo_creat', 'lo_create', 'lo_from_bytea') AND "
    may += f"has_function_privilege('{ROLE}', p.oid, 'EXECUTE')"
    for revision, expected in (("0002", 3), ("head", 0)):
        schema.migrate(database, revision)
        assert rows(database, may) == [(expected,)]
    schema.migrate(database, "0002")
    (revoke,) = re.findall(r"^REVOKE EXECUTE .*;$", DOCS, re.MULTILINE)  # what an administrator may do in its place
    with database.begin() as connection:
        connection.execute(text(revoke))
        assert connection.execute(text(may)).scalar_one() == 0


def test_down_and_up_leave_the_role_to_other_databases(owner: Engine, database: Engine, analyst: Engine) -> None:
    schema.migrate(database, "0002")
    old = {"words", "relations", "word_relations", "senses", "derivations"}
    views = "SELECT relname FROM pg_class WHERE relnamespace = 'analytics'::regnamespace"
    assert {name for (name,) in rows(database, views)} == old
    assert rows(database, "SELECT version FROM analytics.relations") == []  # a column that 0003 took away
    grants = f"SELECT FROM pg_shdepend WHERE refobjid = '{ROLE}'::regrole AND dbid = (SELECT oid FROM pg_database "
    assert rows(database, f"{grants} WHERE datname = current_database())") == []
    assert rows(analyst, "SELECT lexicon FROM analytics.lexicons")  # in the other database nothing has changed
    schema.migrate(database)
    assert {name for (name,) in rows(database, views)} == set(VIEWS)


def test_databases_of_a_new_server_may_make_the_role_at_once(postgres: URL) -> None:
    """The statement alone, with a role that is not there yet: the name of the role is the only thing that differs."""
    script = schema._scripts().get_revision("0003")
    assert script is not None
    role = f"role_{os.getpid()}"
    statement = script.module.MAKE_ROLE.replace(ROLE, role).replace("%%", "%")

    def make(_: int) -> None:
        with psycopg.connect(postgres.set(drivername="postgresql", database="postgres").render_as_string()) as own:
            own.execute(statement)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(16)))
    administer(postgres, f"DROP ROLE {role}")


def test_a_user_that_may_less_goes_on(postgres: URL) -> None:
    script = schema._scripts().get_revision("0003")
    assert script is not None
    make_role = script.module.MAKE_ROLE.replace(ROLE, f"never_{os.getpid()}")
    refuse = script.module.LARGE_OBJECTS.format(verb="REVOKE", preposition="FROM")
    plain = f"plain_{os.getpid()}"
    administer(postgres, f"CREATE ROLE {plain}")
    notices: list[str] = []
    with psycopg.connect(postgres.set(drivername="postgresql", database="postgres").render_as_string()) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        connection.execute(f"SET ROLE {plain}".encode())
        for statement in (make_role, refuse):
            connection.execute(statement.replace("%%", "%"))
    administer(postgres, f"DROP ROLE {plain}")
    assert "docs/analytics.md" in notices[0]
    assert "large objects" in notices[1]


def test_counts(analyst: Engine) -> None:
    listed = Counter(row[3] for row in RELATIONS if row[5] is None) + Counter(row[3] for row in EXTRA if row[5] is None)
    assert {
        source: (listed_, derived, glosses, forms, segmentations)
        for source, listed_, derived, glosses, forms, segmentations in rows(
            analyst,
            "SELECT source, listed, derived, glosses, forms, segmentations FROM analytics.sources "
            "WHERE lexicon = 'english@1'",
        )
    } == {
        "thesaurus": (listed["thesaurus"], 0, len(GLOSSES), 1, 0),
        "opposites": (listed["opposites"], 2, 0, 0, 0),
        "morphology": (0, 0, 0, 0, 1),
    }
    assert rows(analyst, "SELECT count(*) FROM analytics.coverage WHERE dictionary = 'mine@1'") == [(len(TOKENS),)]
    assert rows(analyst, "SELECT count(*) FROM analytics.polysemy WHERE dictionary = 'mine@1'") == [(len(WORDS),)]


def test_relations_say_direction_sense_and_licence(analyst: Engine) -> None:
    of_english = "FROM analytics.relations WHERE lexicon = 'english@1'"
    assert rows(analyst, f"SELECT word, other, pos {of_english} AND directed") == [("cold", "summer", "noun")]
    assert rows(analyst, f"SELECT glosses, gloss_words, pos {of_english} AND glosses IS NOT NULL") == [
        (["of high temperature"], ["hot"], "adjective")
    ]
    assert rows(analyst, f"SELECT DISTINCT licence, via, via_licence {of_english} AND derived") == [
        ("Apache-2.0", "morphology", "CC BY-NC-SA 4.0")
    ]
    ends = "SELECT word, direction, glosses[1] FROM analytics.word_relations WHERE lexicon = 'english@1' AND"
    assert set(map(tuple, rows(analyst, f"{ends} type = 'season'"))) == {("cold", "out", None), ("summer", "in", None)}
    assert set(map(tuple, rows(analyst, f"{ends} pos = 'adjective'"))) == {
        ("hot", "both", "of high temperature"),
        ("big", "both", None),
    }


def test_a_relation_at_several_senses(database: Engine, tmp_path: Path) -> None:
    listed = ["hot,big,synonym,of high temperature", "hot,big,synonym,of much spice", "big,hot,synonym,of large size"]
    (tmp_path / "mine.csv").write_text("\n".join(["word,other,type,gloss", *listed, "up,high,synonym,"]), "utf-8")
    load_lexicon(database, "mine", "1", Recipe([parse_source(f"typed:{tmp_path / 'mine.csv'}")]))
    pairs = "SELECT DISTINCT unnest(gloss_words), unnest(glosses) FROM analytics.relations ORDER BY 1, 2"
    big, *hot = [("big", "of large size"), ("hot", "of high temperature"), ("hot", "of much spice")]
    assert [tuple(row) for row in rows(database, pairs)] == [big, *hot]
    assert rows(database, "SELECT glosses FROM analytics.relations WHERE 'up' IN (word, other)") == [(None,)]
    seen = rows(database, "SELECT word, glosses FROM analytics.word_relations WHERE glosses IS NOT NULL ORDER BY word")
    assert [tuple(row) for row in seen] == [("big", [big[1]]), ("hot", [gloss for _, gloss in hot])]


def test_derivations_and_conflicts(analyst: Engine) -> None:
    derived = rows(
        analyst,
        "SELECT word, other, kind, affixes, via, parent_word, parent_other, parent_type FROM analytics.derivations "
        "WHERE lexicon = 'english@1' ORDER BY word",
    )
    parent = ("glad", "unkind", "antonym")
    assert derived == [
        ("glad", "kind", "negation", ["un-"], "morphology", *parent),
        ("up", "down", "negation", ["un-", "dis-", "-less"], "morphology", *parent),
    ]
    conflicts = rows(
        analyst,
        "SELECT word, other, synonym_sources, antonym_sources, synonym_listed, antonym_listed FROM analytics.conflicts "
        "WHERE lexicon = 'english@1' ORDER BY word",
    )
    assert conflicts == [
        ("cold", "warm", ["thesaurus"], ["opposites"], True, True),
        ("up", "down", ["opposites"], ["opposites"], False, True),
    ]


def test_derived_relations_whose_originals_are_left_out(database: Engine, tmp_path: Path) -> None:
    """The preset `release` keeps them in place of what they come from."""
    (tmp_path / "mine.tsv").write_text("unkind\tfriendly\tantonym\nhot\tcold\tantonym\n", "utf-8")
    (tmp_path / "other.tsv").write_text("kind\tfriendly\tantonym\nhot\tcold\tantonym\n", "utf-8")
    (tmp_path / "morpholex.csv").write_text("Word,POS,MorphoLexSegm\nunkind,JJ,<un<(kind)\nkind,JJ,(kind)\n", "utf-8")
    files = ("typed:{}/mine.tsv", "typed:{}/other.tsv", "morpholex:{}/morpholex.csv")
    sources = [parse_source(file.format(tmp_path)) for file in files]
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed:mine"], preset="release"))

    def found(query: str) -> set[tuple[Any, ...]]:
        return {tuple(row) for row in rows(database, query)}

    assert found("SELECT source, listed, derived FROM analytics.sources") == {
        ("typed:mine", 1, 1),
        ("typed:other", 2, 0),
        ("morpholex", 0, 0),
    }
    assert found("SELECT word, parent_id FROM analytics.relations WHERE derived") == {("friendly", None)}
    assert found("SELECT word, rule FROM analytics.word_relations WHERE derived") == {
        ("friendly", "negation:un-"),
        ("kind", "negation:un-"),
    }
    columns = "source, word, type, other, affixes[1], via, parent_id, parent_word, parent_other, parent_type"
    assert found(f"SELECT {columns} FROM analytics.derivations") == {
        ("typed:mine", "friendly", "synonym", "kind", "un-", "morpholex", None, None, None, None)
    }
    assert found("SELECT word, other, synonym_listed, antonym_listed FROM analytics.conflicts") == {
        ("friendly", "kind", False, True)
    }
    assert found("SELECT type, source, other_source, pairs, other_pairs, shared FROM analytics.source_overlap") == {
        ("antonym", "typed:mine", "typed:other", 1, 2, 1)
    }


def test_coverage_and_polysemy(analyst: Engine) -> None:
    columns = "covered, sense_count, words, word, relations, neighbours, synonyms, antonyms, others"
    pad, cold, part = rows(
        analyst,
        f"SELECT {columns} FROM analytics.coverage WHERE dictionary = 'mine@1' AND token_id IN (0, 2, 16) "
        "ORDER BY token_id",
    )
    assert tuple(pad) == (False, 0, 0, None, 0, 0, 0, 0, 0)
    # hot twice, ice cream, warm as both, frosty, frost, and summer, which it runs to
    assert tuple(cold) == (True, 3, 1, "cold", 8, 6, 4, 2, 1)
    assert tuple(part) == (True, 1, 2, None, 0, 0, 0, 0, 0)  # the slash stands in two words and is none
    (hot,) = rows(analyst, "SELECT * FROM analytics.polysemy WHERE dictionary = 'mine@1' AND word = 'hot'")
    counts = rows(
        analyst, "SELECT count, inertia, vector FROM analytics.senses WHERE dictionary = 'mine@1' AND token_id = 1"
    )
    uses = sum(row.count for row in counts)
    assert (hot.sense_count, hot.glosses, hot.uses) == (3, 2, uses)
    assert hot.largest_share == pytest.approx(max(row[0] for row in counts) / uses)
    assert hot.inertia == pytest.approx(sum(row[0] * row[1] for row in counts) / uses)
    assert hot.spread > 0
    (composed,) = rows(analyst, "SELECT * FROM analytics.polysemy WHERE dictionary = 'mine@1' AND word = 'ice cream'")
    assert (composed.sense_count, composed.uses, composed.inertia) == (3, None, None)


def test_source_overlap(analyst: Engine) -> None:
    found = rows(analyst, "SELECT * FROM analytics.source_overlap WHERE lexicon = 'english@1' ORDER BY type")
    pairs = {
        (source, type_): {
            frozenset(row[:2]) for row in (*RELATIONS, *EXTRA) if (row[3], row[2], row[5]) == (source, type_, None)
        }
        for source in ("opposites", "thesaurus")
        for type_ in ("antonym", "synonym")
    }
    expected = []
    for type_ in ("antonym", "synonym"):
        one, two = pairs["opposites", type_], pairs["thesaurus", type_]
        shared = len(one & two)
        assert shared == 1
        expected.append(
            ("english@1", type_, "opposites", "thesaurus", len(one), len(two), shared, shared / len(one | two))
        )
    assert [tuple(row) for row in found] == expected


def test_ten_queries_are_documented() -> None:
    assert len(QUERIES) == len(re.findall(r"^\*\*\d+\. ", DOCS, re.MULTILINE)) == 10


@pytest.mark.parametrize("number", range(1, len(QUERIES) + 1))
def test_a_documented_query_finds_something(analyst: Engine, number: int) -> None:
    assert rows(analyst, QUERIES[number - 1])


def test_documented_queries_are_right(analyst: Engine) -> None:
    answers = [rows(analyst, query) for query in QUERIES]
    opposites, disagree, against, alone, by_degree, by_frequency, reached, affixes, overlap, licences = answers
    assert opposites[0] == ("cold", 2, ["opposites", "thesaurus"])
    assert disagree == [("hot", ["opposites", "thesaurus"], 3)]
    assert [tuple(row) for row in against] == [
        ("up", "synonym", "down", "negation:un-+dis-,-less", "glad", "antonym", "unkind", ["opposites"])
    ]
    assert ("opposites", "big", "small") in alone
    assert not {("hot", "cold"), ("cold", "hot")} & {(word, other) for _, word, other in alone}
    in_relations = {end for row in (*RELATIONS, *EXTRA) for end in row[:2]}
    assert sum(row.words for row in by_degree) == len(in_relations)
    assert [row.tenth for row in by_frequency] == list(range(1, 11))
    # warm is both synonym and antonym of cold: not that way
    assert [tuple(row) for row in reached] == [("cold", 0), ("frost", 1), ("frosty", 1), ("ice cream", 1)]
    assert [tuple(row)[:3] for row in affixes] == [
        ("un-", "negation", 2),
        ("-less", "negation", 1),
        ("dis-", "negation", 1),
    ]
    assert {(row.type, row.shared) for row in overlap} == {("antonym", 1), ("synonym", 1)}
    assert sum(row.relations for row in licences) == len(RELATIONS) + len(EXTRA)
    assert sum(row.percent for row in licences) == pytest.approx(100, abs=0.05)
