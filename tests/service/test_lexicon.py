"""Loading a lexicon: all of it or nothing, the same again, and what can be asked of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, text

from running_service import environment_of
from sensedict.errors import ConfigurationError, Conflict, InvalidInput, LexiconNotFound
from sensedict_server.build.contents import TokenSenses
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.sources import SourceSpec, parse_source, with_stated
from sensedict_server.build.words import compose_words
from sensedict_server.queries import lexicons as queries
from sensedict_server.settings import Settings
from tiny_teacher import save_tokenizer
from until import until

SENSEDICT = [sys.executable, "-c", "from sensedict.cli import main; main()"]
TYPED = """\
hot\twarm\tsynonym
warm\tcold\tsynonym
cold\twarm\tantonym
unkind\tfriendly\tantonym
unkind\tdishonest\tsynonym
tie\tuntie\treversal
untie\tfree\tsynonym
New York\tbig apple\tnickname
and/or\tété\tsynonym
hot\thot\tsynonym
"""
SEGMENTATIONS = """\
Word,MorphoLexSegm
UNKIND,<un<(kind)
kind,(kind)
dishonest,<dis<{(honest)}
honest,(honest)
untie,<un<(tie)
"""


@pytest.fixture
def sources(tmp_path: Path) -> list[SourceSpec]:
    """A typed list, segmentations and our own opposites."""
    (tmp_path / "mine.tsv").write_text(TYPED, encoding="utf-8")
    (tmp_path / "morpholex.csv").write_text(SEGMENTATIONS, encoding="utf-8")
    return [
        parse_source(f"typed:{tmp_path / 'mine.tsv'}"),
        parse_source(f"morpholex:{tmp_path / 'morpholex.csv'}"),
        parse_source("opposites"),
    ]


def rows(database: Engine, query: str) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_what_is_stored(database: Engine, sources: list[SourceSpec]) -> None:
    lexicon, made = load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    assert made
    stored = rows(
        database,
        "SELECT word, other, type, rule, conflict FROM analytics.relations WHERE source = 'typed:mine'",
    )
    ends = {(frozenset((word, other)), type_, rule, conflict) for word, other, type_, rule, conflict in stored}
    assert ends == {
        (frozenset(("hot", "warm")), "synonym", None, False),
        (frozenset(("warm", "cold")), "synonym", None, True),
        (frozenset(("cold", "warm")), "antonym", None, True),
        (frozenset(("unkind", "friendly")), "antonym", None, False),
        (frozenset(("kind", "friendly")), "synonym", "negation:un-", False),
        (frozenset(("unkind", "dishonest")), "synonym", None, False),
        (frozenset(("kind", "honest")), "synonym", "negation:dis-+un-", False),
        (frozenset(("kind", "dishonest")), "antonym", "negation:un-", False),
        (frozenset(("unkind", "honest")), "antonym", "negation:dis-", False),
        (frozenset(("tie", "untie")), "reversal", None, False),
        (frozenset(("untie", "free")), "synonym", None, False),
        (frozenset(("tie", "free")), "reversal", "reversal:un-", False),
        (frozenset(("New York", "big apple")), "nickname", None, False),
        (frozenset(("and/or", "été")), "synonym", None, False),
    }
    parents = rows(database, "SELECT word, other, parent_word, parent_other FROM analytics.derivations")
    assert len(parents) == 5
    by_ends = {frozenset(row[:2]): frozenset(row[2:]) for row in parents}
    assert by_ends[frozenset(("kind", "friendly"))] == frozenset(("unkind", "friendly"))
    with database.connect() as connection:
        found = queries.list_lexicon_sources(connection, lexicon.id)
        assert queries.count_conflicts(connection, lexicon.id) == 1
    described = {source.name: (source.licence, source.skipped) for source in found}
    assert described["typed:mine"] == ("not stated", {"same word at both ends": 1})
    assert described["morpholex"] == ("CC BY-NC-SA 4.0", {})
    assert described["opposites"] == ("Apache-2.0", {})


def test_it_is_frozen_and_its_ends_are_in_order(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    assert rows(database, "SELECT count(*) FROM relations WHERE word_id >= other_id AND NOT directed") == [(0,)]
    with pytest.raises(Conflict, match="mine@1 is published and never changes"), database.begin() as connection:
        connection.execute(text("DELETE FROM relations"))


def test_the_same_again_does_nothing(database: Engine, sources: list[SourceSpec], tmp_path: Path) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    before = rows(database, "SELECT count(*), max(id) FROM relations")
    moved = tmp_path / "elsewhere" / "mine.tsv"
    moved.parent.mkdir()
    moved.write_bytes(sources[0].path.read_bytes())
    again = [sources[2], parse_source(f"typed:{moved}"), sources[1]]
    lexicon, made = load_lexicon(database, "mine", "1", Recipe(again, ["typed:mine"]))
    assert not made
    assert lexicon.ref == "mine@1"
    assert rows(database, "SELECT count(*), max(id) FROM relations") == before


def test_other_settings_are_a_conflict_that_names_them(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    with pytest.raises(Conflict, match=r"mine@1 .* it derives over typed:mine, not over opposites"):
        load_lexicon(database, "mine", "1", Recipe(sources, ["opposites"]))
    with pytest.raises(Conflict, match=r"it has a source morpholex.*it has a source typed:mine"):
        load_lexicon(database, "mine", "1", Recipe([sources[2]]))
    sources[0].path.write_text("hot\tcold\tantonym\n", encoding="utf-8")
    with pytest.raises(Conflict, match="its typed:mine has sha256 "):
        load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))


def test_two_lexicons_share_their_words(database: Engine, sources: list[SourceSpec]) -> None:
    first, _ = load_lexicon(database, "mine", "1", Recipe([sources[2]]))
    second, _ = load_lexicon(database, "mine", "2", Recipe([sources[0], sources[2]]))
    assert rows(database, "SELECT count(*) FROM words WHERE text = 'hot'") == [(1,)]
    with database.connect() as connection:
        assert set(queries.relation_words(connection, first.id)) < set(queries.relation_words(connection, second.id))
        assert [lexicon.ref for lexicon in queries.list_lexicons(connection)] == ["mine@1", "mine@2"]


def test_a_broken_line_leaves_nothing(database: Engine, sources: list[SourceSpec]) -> None:
    sources[0].path.write_text(TYPED + "hot cold\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"mine.tsv, line 11: "):
        load_lexicon(database, "mine", "1", Recipe([sources[2], sources[0]]))
    assert rows(database, "SELECT (SELECT count(*) FROM words) + (SELECT count(*) FROM lexicons)") == [(0,)]


def test_killed_while_storing_leaves_nothing(database: Engine, settings: Settings, sources: list[SourceSpec]) -> None:
    command = [*SENSEDICT, "lexicon", "load", "mine@1", "--source", sources[0].spec]
    with database.connect() as holder:
        holder.execute(text("LOCK TABLE relations IN SHARE MODE"))  # the load stops at its COPY
        process = subprocess.Popen(command, env={**os.environ, **environment_of(settings)})
        waiting = text(
            "SELECT count(*) FROM pg_locks "
            "WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        until(lambda: holder.execute(waiting).scalar_one(), process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        holder.rollback()
    assert rows(database, "SELECT count(*) FROM lexicons") == [(0,)]
    _, made = load_lexicon(database, "mine", "1", Recipe([sources[0]]))
    assert made
    assert rows(database, "SELECT count(*) FROM relations") == [(9,)]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("mobi:words.txt", InvalidInput, "'mobi' is none of moby, morphynet, opposites"),
        ("moby", InvalidInput, "write moby:FILE"),
        ("opposites:mine.tsv", InvalidInput, "its file is part of sensedict"),
        ("moby:/nowhere/words.txt", ConfigurationError, "there is no file /nowhere/words.txt"),
        ("moby:package:no_such_package/words.txt", ConfigurationError, "'no_such_package' is not installed"),
    ],
)
def test_a_source_that_cannot_be_read(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_source(spec)


def test_settings_that_do_not_fit_together(database: Engine, sources: list[SourceSpec]) -> None:
    typed, segmentations, opposites = sources
    for given, over, message in [
        ([typed, typed], [], "'typed:mine' is given twice"),
        ([segmentations], [], "no source of relations"),
        ([typed], ["typed"], "add `--source morpholex:FILE`"),
        ([typed, segmentations], [], "name the source to derive over"),
        ([typed, segmentations], ["moby"], "cannot derive over 'moby'"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            load_lexicon(database, "mine", "1", Recipe(given, over))
    with pytest.raises(InvalidInput, match="lexicon name 'my lexicon'"):
        load_lexicon(database, "my lexicon", "1", Recipe([opposites]))
    with pytest.raises(InvalidInput, match="version 'latest' would hide"):
        load_lexicon(database, "mine", "latest", Recipe([opposites]))
    typed.path.write_text("hot\thot\tsynonym\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="hold no relations"):
        load_lexicon(database, "mine", "1", Recipe([typed]))


def test_the_licence_of_a_list_of_ones_own(database: Engine, sources: list[SourceSpec]) -> None:
    licensed = with_stated(sources, ["typed=CC BY 4.0"])
    lexicon, _ = load_lexicon(database, "mine", "1", Recipe(licensed, ["typed"]))
    with database.connect() as connection:
        found = {source.name: source.licence for source in queries.list_lexicon_sources(connection, lexicon.id)}
    assert found == {"typed:mine": "CC BY 4.0", "morpholex": "CC BY-NC-SA 4.0", "opposites": "Apache-2.0"}
    assert (
        load_lexicon(database, "mine", "1", Recipe(with_stated(sources, ["typed:mine = CC BY 4.0"]), ["typed"]))[1]
        is False
    )
    for other, said in ((["typed=MIT"], "MIT"), ([], "not stated")):
        with pytest.raises(Conflict, match=f"licence of its typed:mine is 'CC BY 4.0', the one given '{said}'"):
            load_lexicon(database, "mine", "1", Recipe(with_stated(sources, other), ["typed"]))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (["typed"], "write NAME=TEXT"),
        (["typed= "], "write NAME=TEXT"),
        (["mine=MIT"], "no source is called 'mine', the sources are typed:mine, morpholex, opposites"),
        (["opposites=MIT"], "the licence of opposites is known, Apache-2.0"),
        (["typed=MIT", "typed:mine=ISC"], "two licences are stated for typed:mine"),
    ],
)
def test_a_licence_that_cannot_be_stated(sources: list[SourceSpec], stated: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        with_stated(sources, stated)


def test_what_was_skipped_is_printed_after_a_load(settings: Settings, tmp_path: Path) -> None:
    lines = [f"a{number} b{number}" for number in range(300)]
    (tmp_path / "pairs.txt").write_text("\n".join([*lines[:200], "consign", *lines[200:], "x x"]), encoding="utf-8")
    command = [*SENSEDICT, "lexicon", "load", "pairs@1", "--source", f"synonyms:{tmp_path / 'pairs.txt'}"]
    environment = {**os.environ, **environment_of(settings)}

    def load(licence: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, "--licence", licence], env=environment, capture_output=True, text=True)

    first = load("synonyms=MIT")
    assert {" ".join(line.split()) for line in first.stdout.splitlines() if "skipped" in line} == {
        "skipped 1 synonyms:pairs: line that is not two words, the first is line 201 of pairs.txt",
        "skipped 1 synonyms:pairs: same word at both ends",
    }
    assert "synonyms:pairs: 300 relations\n" in first.stderr
    again = load("synonyms=MIT")
    assert (again.returncode, again.stderr) == (0, "")
    assert "is there already, from the same sources" in again.stdout
    assert load("antonyms=MIT").returncode == 1


def test_an_unknown_lexicon(database: Engine, sources: list[SourceSpec]) -> None:
    load_lexicon(database, "mine", "1", Recipe([sources[2]]))
    with database.connect() as connection:
        with pytest.raises(LexiconNotFound, match=r"there is no lexicon mine@2 \(there are mine@1\)"):
            queries.find_lexicon(connection, "mine@2")
        with pytest.raises(InvalidInput, match="write name@version"):
            queries.find_lexicon(connection, "mine")


def test_a_sample_is_the_same_again_and_shows_every_kind(database: Engine, sources: list[SourceSpec]) -> None:
    lexicon, _ = load_lexicon(database, "mine", "1", Recipe(sources, ["typed"]))
    with database.connect() as connection:
        sample = queries.sample_relations(connection, lexicon.id, 30, seed=1)
        assert sample == queries.sample_relations(connection, lexicon.id, 30, seed=1)
        assert sample != queries.sample_relations(connection, lexicon.id, 30, seed=2)
        total = sum(count.relations for count in queries.count_relations(connection, lexicon.id))
        everything = queries.sample_relations(connection, lexicon.id, 10_000, seed=1)
    assert len(sample) == len(set(sample)) == 30
    assert {edge.type for edge in sample} == {"synonym", "antonym", "reversal", "nickname"}
    assert any(edge.rule for edge in sample)
    assert len(everything) == len(set(everything)) == total


def test_the_commands(database: Engine, settings: Settings, sources: list[SourceSpec]) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*SENSEDICT, "lexicon", *arguments]
        return subprocess.run(command, env={**os.environ, **environment_of(settings)}, capture_output=True, text=True)

    loading = [
        "load",
        "mine@1",
        *(part for source in sources for part in ("--source", source.spec)),
        "--derive",
        "typed",
    ]
    first = run(*loading)
    assert (first.returncode, first.stdout.splitlines()[0]) == (0, "mine@1 is loaded.")
    assert run(*loading).stdout.startswith("mine@1 is there already")
    document = json.loads(run("sample", "mine@1", "--count", "50", "--seed", "0", "--json").stdout)
    assert document["lexicon"] == "mine@1"
    assert document["totals"]["conflicts"] == 1
    assert document["totals"]["reversal"] == 2
    assert len(document["edges"]) == 50
    assert set(document["edges"][0]) == {"word", "type", "other", "source", "rule"}
    assert len(run("sample", "mine@1", "--count", "7").stdout.splitlines()) == 7
    shown = run("show", "mine@1").stdout
    assert "licence: CC BY-NC-SA 4.0" in shown
    assert "same word at both ends" in shown
    assert run("list").stdout.startswith("mine@1\t")
    failed = run("load", "mine@1", "--source", "opposites")
    assert failed.returncode == 1
    assert failed.stderr.startswith("sensedict: mine@1 is published and differs")


def test_words_of_a_lexicon_get_tokens_and_senses(database: Engine, sources: list[SourceSpec], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    save_tokenizer(tmp_path / "teacher")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "teacher")
    size, random = len(tokenizer), np.random.default_rng(0)
    sizes = np.full(size, 2)
    tokens = TokenSenses(
        texts=[tokenizer.decode([token]) for token in range(size)],
        occurrences=np.ones(size, dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        vectors=random.normal(size=(2 * size, 8)).astype(np.float16),
        counts=np.ones(2 * size, dtype=np.int64),
        inertia=np.zeros(2 * size, dtype=np.float32),
        contexts=[[] for _ in range(2 * size)],
    )
    lexicon, _ = load_lexicon(database, "mine", "1", Recipe([sources[0]]))
    words = compose_words(database, lexicon.id, tokenizer, tokens)
    with database.connect() as connection:
        listed = queries.relation_words(connection, lexicon.id)
    assert [word_id for word_id, _ in listed] == words.word_ids.tolist() == sorted(words.word_ids.tolist())
    for row, (_, word) in enumerate(listed):
        ids = tuple(tokenizer(f" {word}", add_special_tokens=False)["input_ids"])
        assert words.token_ids[row] == ids
        assert words.reasons[row] == (None if len(ids) <= 3 else "too many tokens")
        assert words.offsets[row + 1] - words.offsets[row] == (2 if 1 < len(ids) <= 3 else 0)
