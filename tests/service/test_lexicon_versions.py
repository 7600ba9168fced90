"""New versions of a lexicon out of old ones, and what lexicographers say of its relations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from running_service import environment_of
from sensedict.cli import cli
from sensedict.errors import Conflict, InvalidInput, LexiconNotFound
from sensedict_server.build.judgements import judge, withdraw
from sensedict_server.build.lexicon import lexicon_without, load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.sources import SourceSpec, matches, parse_source
from sensedict_server.settings import Settings

MINE = "unkind\tfriendly\tantonym\nhot\twarm\tsynonym\ndog\tanimal\thypernym\nzebra\tanimal\thypernym\n"
SEGMENTATIONS = "Word,POS,MorphoLexSegm\nunkind,JJ,<un<(kind)\nkind,JJ,(kind)\n"
Row = tuple[Any, ...]


@pytest.fixture
def sources(tmp_path: Path) -> list[SourceSpec]:
    """A typed list with directed relations, and segmentations."""
    (tmp_path / "mine.tsv").write_text(MINE, encoding="utf-8")
    (tmp_path / "morpholex.csv").write_text(SEGMENTATIONS, encoding="utf-8")
    return [parse_source(f"typed:{tmp_path / 'mine.tsv'}"), parse_source(f"morpholex:{tmp_path / 'morpholex.csv'}")]


def edges(database: Engine, version: str, columns: str = "word, type, other, rule") -> set[Row]:
    """The relations of mine@version; the ends of a symmetric one in alphabetical order."""
    query = text(
        f"""
        SELECT {columns} FROM (
            SELECT CASE WHEN r.directed THEN a.text ELSE least(a.text, b.text) END AS word,
                   CASE WHEN r.directed THEN b.text ELSE greatest(a.text, b.text) END AS other,
                   r.type, r.rule, least(c.text, d.text) || '–' || greatest(c.text, d.text) AS parent,
                   r.pos, g.text AS gloss, of.text AS of, s.name AS source, via.name AS via
            FROM relations r JOIN lexicons l ON l.id = r.lexicon_id
            JOIN words a ON a.id = r.word_id JOIN words b ON b.id = r.other_id
            JOIN relation_sources s ON s.id = r.source_id LEFT JOIN relation_sources via ON via.id = r.via_id
            LEFT JOIN relations p ON p.id = r.parent_id
            LEFT JOIN words c ON c.id = p.word_id LEFT JOIN words d ON d.id = p.other_id
            LEFT JOIN relation_glosses rg ON rg.relation_id = r.id
            LEFT JOIN glosses g ON g.id = rg.gloss_id LEFT JOIN words of ON of.id = g.word_id
            WHERE l.name = 'mine' AND l.version = :version
        ) edges
        """
    )
    with database.connect() as connection:
        return {tuple(row) for row in connection.execute(query, {"version": version})}


ORIGINAL: set[Row] = {
    ("friendly", "antonym", "unkind", None),
    ("hot", "synonym", "warm", None),
    ("dog", "hypernym", "animal", None),
    ("zebra", "hypernym", "animal", None),
}
DERIVED: set[Row] = {("friendly", "synonym", "kind", "negation:un-")}


def test_a_version_carries_over_what_its_base_holds(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    assert edges(database, "1") == ORIGINAL | DERIVED
    for source in sources:
        source.path.unlink()  # the base's rows suffice
    _, made = load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    assert made
    assert edges(database, "2") == edges(database, "1")
    assert edges(database, "2", "word, via") >= {("friendly", "morpholex")}
    assert load_lexicon(database, "mine", "2", Recipe(base="mine@1"))[1] is False
    assert load_lexicon(database, "mine", "1", Recipe(base="mine@2"))[1] is False  # made of the same


def test_a_source_is_added_replaced_and_left_out(database: Engine, sources: list[SourceSpec], tmp_path: Path) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    more = Recipe([parse_source("opposites")], base="mine@1")
    load_lexicon(database, "mine", "2", more)
    assert {row[0] for row in edges(database, "2", "source")} == {"typed:mine", "opposites"}
    assert edges(database, "2") > ORIGINAL | DERIVED
    sources[0].path.write_text("unkind\tnice\tantonym\n", encoding="utf-8")
    load_lexicon(database, "mine", "3", Recipe([sources[0]], base="mine@2", without=["opposites"]))
    assert edges(database, "3") == {
        ("nice", "antonym", "unkind", None),
        ("kind", "synonym", "nice", "negation:un-"),
    }
    assert edges(database, "1") == ORIGINAL | DERIVED  # what is published stays


@pytest.mark.parametrize("pattern", ["morpholex", "CC BY-NC*", "cc by-nc-sa 4.0"])
def test_without_its_segmentations_nothing_is_derived(
    database: Engine, sources: list[SourceSpec], pattern: str
) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    left = lexicon_without(database, "mine@1", [pattern])
    assert left.version.startswith("1-without-")
    assert edges(database, left.version) == ORIGINAL
    assert left.settings["derive"] == []
    assert lexicon_without(database, "mine@1", [pattern]) == left


def test_what_cannot_be_carried_over(database: Engine, sources: list[SourceSpec]) -> None:
    with pytest.raises(LexiconNotFound, match="no lexicon mine@1"):
        load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    with pytest.raises(
        InvalidInput, match=r"cannot leave out 'mobi': mine@1 has the sources typed:mine \(not stated\)"
    ):
        load_lexicon(database, "mine", "2", Recipe(base="mine@1", without=["mobi"]))
    with pytest.raises(InvalidInput, match="nothing to leave out"):
        load_lexicon(database, "mine", "2", Recipe(sources, ["typed"], without=["typed"]))
    with pytest.raises(InvalidInput, match="no source of relations"):
        load_lexicon(database, "mine", "2", Recipe(base="mine@1", without=["typed"]))
    judge(database, "mine", "add", "hot", "antonym", "icy", reason="missing", author="ada")
    with pytest.raises(InvalidInput, match="judgements cannot be left out: end one with"):
        load_lexicon(database, "mine", "2", Recipe(base="mine@1", without=["judgements"]))
    with pytest.raises(InvalidInput, match="no source of relations"):
        load_lexicon(database, "mine", "2", Recipe(base="mine@1", without=["*"]))
    withdraw(database, 1)
    with pytest.raises(InvalidInput, match="--affixes does nothing unless relations are derived"):
        load_lexicon(database, "mine", "2", Recipe([sources[0]], affixes=sources[0].path))
    load_lexicon(database, "mine", "counted", Recipe(sources, ["typed"], preset="release"))
    assert edges(database, "counted") == (ORIGINAL | DERIVED) - {("friendly", "antonym", "unkind", None)}
    with pytest.raises(InvalidInput, match="preset release reads sources in its own way"):
        load_lexicon(database, "mine", "2", Recipe(base="mine@1", preset="release"))
    with pytest.raises(InvalidInput, match="mine@counted has derived relations in place of originals"):
        load_lexicon(database, "mine", "2", Recipe(base="mine@counted"))


def test_a_judgement_survives_a_reload_of_its_source(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    judge(database, "mine", "reject", "unkind", "antonym", "friendly", reason="too weak", author="ada")
    judge(database, "mine", "reject", "zebra", "hypernym", "animal", reason="obvious", author="ada")
    judge(database, "mine", "add", "hot", "antonym", "icy", reason="missing", author="ada")
    judged = {("dog", "hypernym", "animal", None), ("hot", "synonym", "warm", None), ("hot", "antonym", "icy", None)}
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    assert edges(database, "2") == judged  # and nothing is derived from what is rejected
    load_lexicon(database, "mine", "3", Recipe([sources[0]], base="mine@2"))  # the source again, from its file
    assert edges(database, "3") == judged
    assert ("icy", "judgements") in edges(database, "3", "other, source")
    with pytest.raises(Conflict, match=r"mine@1 is published and differs: judgements were made .* since \(1, 2, 3\)"):
        load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))


def test_a_judgement_of_a_hyponym_is_one_of_the_hypernym(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    made = judge(database, "mine", "reject", "animal", "hyponym", "zebra", reason="obvious", author="ada")
    assert (made.word, made.type, made.other) == ("zebra", "hypernym", "animal")


def test_a_derived_relation_is_rejected_alone(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    judge(database, "mine", "reject", "friendly", "synonym", "kind", reason="no", author="ada")
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    assert edges(database, "2") == ORIGINAL
    query = "SELECT skipped FROM relation_sources s JOIN lexicons l ON l.id = lexicon_id WHERE l.version = '2'"
    with database.connect() as connection:
        skipped = connection.execute(text(f"{query} AND s.name = 'typed:mine'")).scalar_one()
    assert skipped == {"derived: rejected by a judgement": 1}


def test_a_judgement_that_is_withdrawn(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    made = judge(database, "mine", "reject", "warm", "synonym", "hot", reason="no", author="ada")
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    assert ("hot", "synonym", "warm", None) not in edges(database, "2")
    assert withdraw(database, made.id).withdrawn_at is not None
    with pytest.raises(InvalidInput, match=f"mine@2 lacks 'hot' synonym 'warm', which judgement {made.id} rejected"):
        load_lexicon(database, "mine", "3", Recipe(base="mine@2"))
    load_lexicon(database, "mine", "3", Recipe(base="mine@1"))
    assert edges(database, "3") == ORIGINAL | DERIVED
    with pytest.raises(InvalidInput, match=f"no judgement {made.id} in force"):
        withdraw(database, made.id)


def test_a_judgement_made_again_holds_for_what_obeyed_the_first(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    first = judge(database, "mine", "reject", "warm", "synonym", "hot", reason="no", author="ada")
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    withdraw(database, first.id)
    judge(database, "mine", "reject", "hot", "synonym", "warm", reason="no, really", author="ada")
    load_lexicon(database, "mine", "3", Recipe(base="mine@2"))
    assert edges(database, "3") == edges(database, "2")


def test_a_copy_under_another_name_obeys_the_same(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "thine", "1", Recipe(sources, ["typed"]))
    judge(database, "thine", "reject", "warm", "synonym", "hot", reason="no", author="ada")
    judge(database, "thine", "add", "hot", "antonym", "icy", reason="missing", author="ada")
    load_lexicon(database, "thine", "2", Recipe(base="thine@1"))
    load_lexicon(database, "mine", "1", Recipe(base="thine@2"))
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    for version in "12":
        assert ("hot", "antonym", "icy", None) in edges(database, version)
        assert ("hot", "synonym", "warm", None) not in edges(database, version)


def test_a_table_of_affixes_is_carried_over(database: Engine, sources: list[SourceSpec], tmp_path: Path) -> None:
    header = "position\tmorpheme\tlabel\tspellings\tbefore_verb\tbase\tinstead\n"
    (tmp_path / "affixes.tsv").write_text(header + "prefix\tnon\tnon-\tnon\tnegates\tsame\t\n", encoding="utf-8")
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"], affixes=tmp_path / "affixes.tsv"))
    assert edges(database, "1") == ORIGINAL
    (tmp_path / "affixes.tsv").unlink()
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    assert edges(database, "2") == ORIGINAL  # un- is not in the table
    assert load_lexicon(database, "mine", "1", Recipe(base="mine@2"))[1] is False


def test_the_one_source_that_is_derived_over_is_left_out(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe([*sources, parse_source("opposites")], ["typed"]))
    left = lexicon_without(database, "mine@1", ["typed*"])
    assert {row[0] for row in edges(database, left.version, "source")} == {"opposites"}
    assert not [row for row in edges(database, left.version) if row[3] is not None]


def test_leaving_out_goes_on_after_a_judgement(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe([*sources, parse_source("opposites")], ["typed"]))
    before = lexicon_without(database, "mine@1", ["opposites"])
    judge(database, "mine", "add", "hot", "antonym", "icy", reason="missing", author="ada")
    after = lexicon_without(database, "mine@1", ["opposites"])
    assert before != after
    assert edges(database, after.version) - edges(database, before.version) == {("hot", "antonym", "icy", None)}
    assert lexicon_without(database, "mine@1", ["apache-2.0"]) != lexicon_without(database, "mine@1", ["Apache-2.0*"])


def test_a_judgement_that_cannot_be_made(database: Engine, sources: list[SourceSpec]) -> None:
    def attempt(verdict: str, word: str, type_: str, other: str, lexicon: str = "mine", reason: str = "so") -> None:
        judge(database, lexicon, verdict, word, type_, other, reason=reason, author="ada")

    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    for arguments, message in [
        (("add", "hot", "antonym", "cold", "thine"), "there is no lexicon 'thine': there are mine"),
        (("add", "hot", "antonym", "cold", "mine@1"), "every version of a lexicon: write mine, not mine@1"),
        (("add", "dog", "hypernim", "beast"), "write 'hypernym'"),
        (("add", "hot", "antonim", "cold"), "write 'antonym'"),
        (("add", "hot", "antonym", " hot"), "with itself"),
        (("add", "hot", "antonym", " "), "empty word"),
        (("add", "hot", "antonym", "cold", "mine", " "), "needs a reason"),
        (("reject", "animal", "hypernym", "dog"), "no version of mine holds 'animal' hypernym 'dog'"),
        (("reject", "hot", "antonym", "cold"), "nothing to reject"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            attempt(*arguments)
    attempt("reject", "hot", "synonym", "warm")
    with pytest.raises(Conflict, match="judgement 1 by ada says reject already"):
        attempt("add", "warm", "synonym", "hot")
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM judgements")).scalar_one() == 1


def test_glosses_parts_of_speech_and_forms_are_kept(database: Engine, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "word,other,type,pos,gloss\nwarm,hot,synonym,adjective,of some heat\nwarm,hot,synonym,verb,\n", encoding="utf-8"
    )
    load_lexicon(database, "mine", "1", Recipe([parse_source(f"typed:{tmp_path / 'mine.csv'}")]))
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    found = {
        ("hot", "synonym", "warm", "adjective", "of some heat", "warm"),
        ("hot", "synonym", "warm", "verb", None, None),
    }
    for version in "12":
        assert edges(database, version, "word, type, other, pos, gloss, of") == found


def test_every_sense_of_a_relation_is_carried_over(database: Engine, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "word,other,type,pos,gloss\n"
        "hot,spicy,synonym,adjective,of much spice\n"
        "hot,warm,synonym,adjective,of high temperature\n"
        "zesty,hot,synonym,adjective,\n"
        "hot,zesty,synonym,adjective,of high temperature\n"
        "hot,zesty,synonym,adjective,of much spice\n"
        "zesty,hot,synonym,adjective,of much taste\n"
        "zesty,hot,synonym,adjective,of much taste\n"
        "dog,animal,hypernym,noun,it barks\n"
        "dog,animal,hypernym,noun,it is kept\n",
        encoding="utf-8",
    )
    load_lexicon(database, "mine", "1", Recipe([parse_source(f"typed:{tmp_path / 'mine.csv'}")]))
    load_lexicon(database, "mine", "2", Recipe(base="mine@1"))
    load_lexicon(database, "mine", "3", Recipe(base="mine@2"))
    query = """
        SELECT a.text, b.text, r.type, r.pos, array_agg(w.text || ': ' || g.text ORDER BY g.id)
        FROM relations r JOIN lexicons l ON l.id = r.lexicon_id
        JOIN words a ON a.id = r.word_id JOIN words b ON b.id = r.other_id
        JOIN relation_glosses rg ON (rg.lexicon_id, rg.relation_id) = (r.lexicon_id, r.id)
        JOIN glosses g ON (g.lexicon_id, g.id) = (r.lexicon_id, rg.gloss_id) JOIN words w ON w.id = g.word_id
        WHERE l.version = :version GROUP BY r.id, a.text, b.text ORDER BY r.id
    """
    with database.connect() as connection:
        versions = [connection.execute(text(query), {"version": version}).all() for version in "123"]
        skipped = connection.execute(text("SELECT DISTINCT skipped FROM relation_sources")).scalar_one()
    assert (
        versions[0]
        == versions[1]
        == versions[2]
        == [
            ("hot", "spicy", "synonym", "adjective", ["hot: of much spice"]),
            ("hot", "warm", "synonym", "adjective", ["hot: of high temperature"]),
            (
                "hot",
                "zesty",
                "synonym",
                "adjective",
                ["hot: of much spice", "hot: of high temperature", "zesty: of much taste"],
            ),
            ("dog", "animal", "hypernym", "noun", ["dog: it barks", "dog: it is kept"]),
        ]
    )
    assert skipped == {"listed before": 1}
    with database.connect() as connection, pytest.raises(Conflict, match="is published and never changes"):
        connection.execute(text("DELETE FROM relation_glosses"))


def test_a_derived_relation_has_every_parent(database: Engine, sources: list[SourceSpec], tmp_path: Path) -> None:
    with (tmp_path / "mine.tsv").open("a", encoding="utf-8") as file:
        file.write("unkind\tunfriendly\tsynonym\n")
    with (tmp_path / "morpholex.csv").open("a", encoding="utf-8") as file:
        file.write("unfriendly,JJ,<un<{(friend)>ly>}\nfriendly,JJ,{(friend)>ly>}\n")
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    assert edges(database, "1", "word, type, other, rule, parent") == {
        *((*row, None) for row in ORIGINAL),
        ("unfriendly", "synonym", "unkind", None, None),
        ("friendly", "synonym", "kind", "negation:un-", "friendly–unkind"),
        ("friendly", "synonym", "kind", "negation:un-+un-", "unfriendly–unkind"),
        # friendly–unkind, an antonym by the same rule, is listed
        ("kind", "antonym", "unfriendly", "negation:un-", "unfriendly–unkind"),
    }


@pytest.mark.parametrize(
    ("pattern", "name", "licence", "meant"),
    [
        ("moby", "moby", "public domain", True),
        ("typed", "typed:mine", "not stated", True),
        ("typed:mine", "typed:mine", "not stated", True),
        ("mine", "typed:mine", "not stated", False),
        ("Public Domain", "moby", "public domain", True),
        ("CC*", "morphynet", "CC BY-SA 4.0", True),
        ("CC BY", "morphynet", "CC BY-SA 4.0", False),
    ],
)
def test_which_sources_a_pattern_means(pattern: str, name: str, licence: str, meant: bool) -> None:
    assert matches(pattern, name, licence) is meant


def test_the_commands(settings: Settings, sources: list[SourceSpec]) -> None:
    def sensedict(*arguments: str, code: int = 0) -> str:
        done = CliRunner(env=environment_of(settings)).invoke(cli, ["lexicon", *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    given = [part for source in sources for part in ("--source", source.spec)]
    sensedict("load", "mine@1", *given, "--derive", "typed", "--source-version", "morpholex=of 2018")
    assert "morpholex (of 2018), licence: CC BY-NC-SA 4.0" in sensedict("show", "mine@1")
    said = sensedict("reject", "mine", "hot", "synonym", "warm", "--reason", "a matter of degree", "--by", "ada")
    assert "judgement 1: versions of mine made from now on obey" in said
    assert sensedict("judgements", "mine").startswith("1\treject 'hot' synonym 'warm'\ta matter of degree\t(ada, ")
    loaded = sensedict("load", "mine@2", "--from", "mine@1", "--without", "CC BY-NC*")
    assert "typed:mine: carried over" in loaded
    assert "rejected by a judgement" in sensedict("show", "mine@2")
    assert "withdrawn: reject 'hot'" in sensedict("withdraw", "1")
    assert "  withdrawn 2" in sensedict("judgements", "mine")
    assert sensedict("affixes").startswith("#") or "morpheme" in sensedict("affixes")
    listed = sensedict("sources")
    assert "moby:FILE" in listed
    assert "\nopposites  " in listed
    assert "reason" in sensedict("add", "mine", "hot", "antonym", "cold", code=2)


def test_no_chain_of_derivation_ends_where_it_began(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    cycle = text(
        """
        WITH made AS (INSERT INTO lexicons (name, version) VALUES ('cyclic', '1') RETURNING id),
             source AS (INSERT INTO relation_sources (lexicon_id, name, licence, version)
                        SELECT id, 's', 'l', 'v' FROM made RETURNING id, lexicon_id),
             ends AS (SELECT min(id) AS low, max(id) AS high FROM words)
        INSERT INTO relations (id, lexicon_id, word_id, other_id, type, source_id, rule, parent_id)
        SELECT number, lexicon_id, low, high, type, source.id, 'negation:un-', parent
        FROM source, ends,
             (VALUES (1000001, 'synonym', 1000002), (1000002, 'antonym', 1000001)) made_up (number, type, parent)
        """
    )
    with pytest.raises(IntegrityError, match="parent_before_child"), database.begin() as connection:
        connection.execute(cycle)
