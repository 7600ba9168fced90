"""Tables of affixes: the shipped ones, and what a linguist may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.affixes import read_affixes, shipped_affixes, shipped_denying, shipped_lookalikes
from sensedict_server.lexicon.negation import derive
from sensedict_server.lexicon.relations import Relation, Segmentation

HEADER = "position\tmorpheme\tlabel\tspellings\tbefore_verb\tbase\tinstead\n"


def table(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "mine.tsv"
    path.write_text(header + rows, "utf-8")
    return path


def test_the_shipped_tables() -> None:
    default, release = shipped_affixes(), shipped_affixes("release")
    assert [affix.label for affix in default.affixes.values()] == ["un-", "im-", "dis-", "non-", "-less"]
    added = [affix.label for key, affix in release.affixes.items() if key not in default.affixes]
    assert added == ["anti-", "de-", "a-", "an-", "-free"]
    assert [affix.label for affix in default.affixes.values() if affix.reverses] == ["un-", "dis-"]
    assert not any(affix.reverses for affix in release.affixes.values())
    assert not default.replaces_originals
    assert release.replaces_originals
    assert default.lookalikes == shipped_lookalikes()
    assert not default.lookalikes & shipped_denying().keys()
    assert not release.lookalikes


def test_there_is_no_other_preset() -> None:
    with pytest.raises(InvalidInput, match=r"'relase': the presets are default and release"):
        shipped_affixes("relase")


def test_release_has_more_affixes() -> None:
    segmentations = {
        word: Segmentation(word, text)
        for word, text in {"icefree": "{(ice)(free)}", "amoral": "<a<{(moral)}", "free": "{(free)}"}.items()
    }
    relations = [Relation("icefree", "thawed", "synonym"), Relation("amoral", "bad", "synonym")]
    relations.append(Relation("free", "loose", "synonym"))
    bases = {"ice", "moral"}
    assert derive(relations, segmentations, bases) == []
    found = derive(relations, segmentations, bases, affixes=shipped_affixes("release"))
    assert [(r.word, r.other, r.type, r.rule) for r in found] == [
        ("ice", "thawed", "antonym", "negation:-free"),
        ("moral", "bad", "antonym", "negation:a-"),
    ]


def test_a_table_of_ones_own_stands_in_place_of_the_shipped_one(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "# what editors do: a mark at the start, other columns, blank lines, ends of lines\r\n\r\n"
        "mal-\tprefix\tmal\tmal- mal\tnegates\tsame\t\tmalcontent\r\n"
        "un-\tprefix\tun\tun\treverses\tsame\r\n",
        "\ufefflabel\tposition\tmorpheme\tspellings\tbefore_verb\tbase\tinstead\tnote\r\n",
    )
    mine = read_affixes(path)
    assert [affix.label for affix in mine.affixes.values()] == ["mal-", "un-"]
    assert mine.lookalikes == shipped_lookalikes()
    segmentations = {
        "malcontent": Segmentation("malcontent", "<mal<{(content)}"),
        "faultless": Segmentation("faultless", "{(fault)}>less>"),
    }
    relations = [Relation("malcontent", "angry", "synonym"), Relation("faultless", "perfect", "synonym")]
    found = derive(relations, segmentations, {"content", "fault"}, affixes=mine)
    assert [(r.word, r.other, r.type, r.rule) for r in found] == [("content", "angry", "antonym", "negation:mal-")]


@pytest.mark.parametrize(
    ("rows", "line", "why"),
    [
        ("prefix\tun\tun-\tun\n", 2, "nothing stands under before_verb, base"),
        ("prefix\tun\tun-\tun\treverses\tsame\t\ty\n", 2, "expected 7 cells parted by tabs, got 8"),
        ("prefix un un- un reverses\n", 2, "nothing stands under morpheme, label, spellings, before_verb, base"),
        ("infix\tun\tun-\tun\treverses\tsame\n", 2, "position 'infix': write one of prefix, suffix, root"),
        ("prefix\tun\tun-\tun\tundoes\tsame\n", 2, "before_verb 'undoes': write one of negates, reverses"),
        ("prefix\tun\tun-\tun\tnegates\tsame\tful\n", 2, "only an ending has another instead of it"),
        ("prefix\tun\tun-\tun\treverses\tnoun\n", 2, "base 'noun': write one of same, other"),
        (
            "suffix\tless\t-less\tless\treverses\tsame\n",
            2,
            "only a prefix stands before a verb: write negates for -less",
        ),
        ("prefix\t<un<\tun-\tun\tnegates\tsame\n", 2, "morpheme '<un<': write it without blanks and brackets"),
        ("prefix\tun\tun, dis\tun\tnegates\tsame\n", 2, "label 'un, dis': write it without blanks, commas"),
        ("prefix\tun\tun-\tun,un-\tnegates\tsame\n", 2, "spelling 'un,un-': write small letters and hyphens"),
        ("prefix\tun\tun-\tUn\tnegates\tsame\n", 2, "spelling 'Un': write small letters"),
        ("prefix\tun\tun-\t-\tnegates\tsame\n", 2, "spelling '-': write small letters"),
        (
            "prefix\tun\tun-\tun\tnegates\tsame\n\nprefix\tun\tno-\tno\tnegates\tsame\n",
            4,
            "this morpheme stands on line 2 already",
        ),
        (
            "prefix\tun\tun-\tun\tnegates\tsame\nprefix\tno\tun-\tno\tnegates\tsame\n",
            3,
            "label 'un-' stands on line 2 already",
        ),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, rows: str, line: int, why: str) -> None:
    path = table(tmp_path, rows)
    with pytest.raises(InvalidInput) as error:
        read_affixes(path)
    assert str(error.value).startswith(f"{path}, line {line}: {why}")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            b"",
            "empty; expected a header with the columns position, morpheme, label, spellings, before_verb, base, "
            "instead",
        ),
        (HEADER.encode(), "no affix in it"),
        (b"un\tprefix\n", "line 1: expected a header with the columns position"),
        (HEADER.encode() + "préfixe".encode("latin-1"), "cannot be read as UTF-8 text"),
        (HEADER.replace("\t", ",").encode(), "line 1: expected a header with the columns position"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "mine.tsv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as error:
        read_affixes(path)
    assert str(path) in str(error.value)
    assert why in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"mine.tsv: cannot be read"):
        read_affixes(tmp_path / "mine.tsv")
