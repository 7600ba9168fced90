"""The reader of wiktextract's output, on lines of our own in its format."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.collection import Collection
from sensedict_server.lexicon.readers import READERS, File, Notes
from sensedict_server.lexicon.readers.wiktextract import NO_THESAURUS
from sensedict_server.lexicon.readers.wiktextract_targets import (
    BRACKETS,
    COMMA,
    EMPTY,
    HEADWORD,
    LONG,
    MARKUP,
    MENDED,
    NOTE,
    POINTER,
    SPLIT,
    TOO_LONG,
    YEARS,
    clean,
    targets,
)
from sensedict_server.lexicon.relations import Entry, Form, Gloss, Relation

READER = READERS["wiktextract"]


def entry(word: Any = "warm", pos: Any = "adj", senses: Any = (), **fields: Any) -> dict[str, Any]:
    return {"word": word, "pos": pos, "senses": senses, "lang": "English", "lang_code": "en", **fields}


def gloss(text: str, **fields: Any) -> dict[str, Any]:
    return {"glosses": [text], **fields}


def words(*words: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"word": word, **fields} for word in words]


def write(path: Path, lines: Iterable[Any]) -> Path:
    content = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(content))
    return path


def read(folder: Path, *lines: Any, name: str = "w.jsonl", options: Iterable[str] = ()) -> tuple[list[Entry], Notes]:
    notes = Notes(options=frozenset(options))
    return list(READER.read(File(write(folder / name, lines)), notes)), notes


def relation(word: str, other: str, type: str, gloss: str | None = None, pos: str | None = "adjective") -> Relation:
    return Relation(word, other, type, pos=pos, gloss=gloss)


@pytest.mark.parametrize("name", ["w.jsonl", "w.jsonl.gz", "w.jsonl.xz", "w.jsonl.zst"])
def test_related_words_of_a_sense_have_its_gloss(tmp_path: Path, name: str) -> None:
    sense = {"glosses": ["Of a temperature.", "Rather hot."], "synonyms": words("hottish"), "antonyms": words("cool")}
    found, notes = read(tmp_path, entry(senses=[gloss("Kind."), sense]), name=name)
    assert found == [
        Gloss("warm", "Kind.", "adjective"),
        relation("warm", "hottish", "synonym", "Rather hot."),
        relation("warm", "cool", "antonym", "Rather hot."),
    ]
    assert not notes.skipped
    assert not notes.counted


def test_every_type_at_both_levels_with_its_direction(tmp_path: Path) -> None:
    fields = {
        "synonyms": words("a"),
        "antonyms": words("b"),
        "hypernyms": words("c"),
        "hyponyms": words("d"),
        "holonyms": words("e"),
        "meronyms": words("f"),
        "coordinate_terms": words("g"),
    }
    types = [
        ("wheel", "a", "synonym"),
        ("wheel", "b", "antonym"),
        ("wheel", "c", "hypernym"),
        ("d", "wheel", "hypernym"),
        ("wheel", "e", "holonym"),
        ("f", "wheel", "holonym"),
        ("wheel", "g", "coordinate"),
    ]
    found, _ = read(tmp_path, entry("wheel", "noun", [gloss("A disc.", **fields)]))
    assert found == [
        relation(word, other, type_, "A disc." if word == "wheel" else None, "noun") for word, other, type_ in types
    ]
    found, _ = read(tmp_path, entry("wheel", "noun", [gloss("A disc.")], **fields))
    assert found == [Gloss("wheel", "A disc.", "noun")] + [relation(*ends, None, "noun") for ends in types]


def test_a_gloss_on_a_swapped_relation_alone_is_given_by_itself(tmp_path: Path) -> None:
    found, _ = read(tmp_path, entry("animal", "noun", [gloss("It moves.", hyponyms=words("dog"))]))
    assert found == [relation("dog", "animal", "hypernym", None, "noun"), Gloss("animal", "It moves.", "noun")]


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        ("to lower in value", "To lower in value, as coins are; to debase."),
        ("(to stoop)", "To stoop."),
        ("loud noise", "A loud noise that goes on."),
        ("goes on", "A loud noise that goes on."),
        ("noise", "noise"),  # one word inside a gloss
        ("to low", "to low"),  # no whole word
        ("to lower", "to lower"),  # two begin with it
        ("to hum", "To hum."),  # two begin with it, and one says nothing else
        ("as coins are", "To lower in value, as coins are; to debase."),
        ("to sing", "to sing"),
        ("Übel", "übel, of old"),
        ("line two", "Line one\nline two"),
        ("s", "s"),
        ("", None),
        (" ( ) ", None),
    ],
)
def test_a_label_means_a_gloss(tmp_path: Path, label: str, meant: str | None) -> None:
    glosses = [
        "To lower in value, as coins are; to debase.",
        "To lower the head.",
        "To stoop.",
        "A loud noise that goes on.",
        "To hum along.",
        "To hum.",
        "übel, of old",
        "Line one\nline two",
        "Last of all.",
    ]
    senses = [*map(gloss, glosses), {"tags": ["no-gloss"]}]
    found, _ = read(tmp_path, entry("abase", "verb", senses, synonyms=words("debase", "demean", sense=label)))
    assert [r.gloss for r in found if isinstance(r, Relation)] == [meant, meant]


def test_forms_of_senses_and_of_lists(tmp_path: Path) -> None:
    plural = gloss("plural of mouse", form_of=words("mouse"), tags=["form-of", "plural"], links=[])
    agent = gloss("One who mouses.", form_of=words("mouse"), tags=["agent", "form-of"])
    spelling = gloss("Alternative spelling of mouse.", alt_of=words("mouse"), tags=["alt-of", "alternative"])
    found, _ = read(tmp_path, entry("mice", "noun", [plural]), entry("mouser", "noun", [agent, spelling]))
    assert found == [
        Form("mice", "mouse", "noun"),
        Gloss("mouser", "One who mouses.", "noun"),
        Gloss("mouser", "Alternative spelling of mouse.", "noun"),
    ]
    forms = [
        {"form": "better", "tags": ["comparative"]},
        {"form": "best", "tags": ["superlative"], "source": "declension"},
        {"form": "no-table-tags", "tags": ["table-tags"], "source": "declension"},
        {"form": "en-adj", "tags": ["inflection-template"]},
        {"form": "gode", "tags": ["alternative", "obsolete"]},
        {"form": "goods", "tags": ["nonstandard", "plural"]},
        {"form": "be good", "tags": ["infinitive"]},
        {"form": "good", "tags": ["present"]},
        {"form": "good", "tags": ["plural"]},
        {"form": "more good", "tags": ["comparative"]},
        {"form": "-", "tags": ["plural"]},
        {"form": "", "tags": ["plural"]},
        {"form": "untagged"},
    ]
    found, notes = read(tmp_path, entry("good", "adj", [gloss("Not bad.")], forms=forms))
    assert found[1:] == [Form("better", "good", "adjective"), Form("best", "good", "adjective")]
    assert notes.skipped == {"form that is no other word": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hel (17th century)", ("hel", MENDED)),
        ("(informal) pal", ("pal", MENDED)),
        ("chamber pot and Thesaurus:toilet", ("chamber pot", MENDED)),
        ("cat#Noun", ("cat", MENDED)),
        ("“hot”", ("hot", MENDED)),
        ("land of plenty -", ("land of plenty", MENDED)),
        ("): feline cat", (None, BRACKETS)),
        ("colo(u)r", (None, BRACKETS)),
        ("more at Thesaurus:man", (None, POINTER)),
        ("See: Thesaurus:verb", (None, POINTER)),
        ("Wikisaurus:cat", (None, POINTER)),
        ("see also dog", (None, POINTER)),
        ("#Noun", (None, POINTER)),
        ("''dog''", (None, MARKUP)),
        ("{{l|en|dog}}", (None, MARKUP)),
        ("&nbsp;dog", (None, MARKUP)),
        ("1871–1918", (None, YEARS)),
        ("man", (None, HEADWORD)),
        ("man (male)", (None, HEADWORD)),
        ("", (None, EMPTY)),
        (" \n", (None, EMPTY)),
        ("(of a dog)", (None, BRACKETS)),
        ("x" * 300, (None, TOO_LONG)),
        *[
            (word, (word, None))
            for word in (
                "b/c",
                "C#",
                "A.D.",
                "'n'",
                "-free",
                "AT&T",
                "ice cream",
                "see red",
                "24/7",
                "日本",
                "naïve",
                "a:b",
            )
        ],
    ],
)
def test_targets_are_cleaned(text: str, expected: tuple[str | None, str | None]) -> None:
    assert clean(text, "man") == expected


def test_cleaning_is_counted(tmp_path: Path) -> None:
    items = [*words("warm", "hel (17th century)", "", "hot"), {"sense": "alone"}]
    found, notes = read(tmp_path, entry(senses=[gloss("Hot.")], synonyms=items))
    assert [r.other for r in found if isinstance(r, Relation)] == ["hel", "hot"]
    assert notes.skipped == {HEADWORD: 1, EMPTY: 2}
    assert notes.counted == {MENDED: 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1. mutt", ["mutt"]),
        ("2) mutt", ["mutt"]),
        ("b) mutt", ["mutt"]),
        ("informal: mutt", ["mutt"]),
        ("US, slang: mutt", ["mutt"]),
        ("Informal: mutt", ["mutt"]),
        ("in the sense of hound: mutt", ["mutt"]),
        ("1. slang: mutt", ["mutt"]),
        ("e.g. mutt", ["mutt"]),
        ("also called mutt", ["mutt"]),
        ("usually mutt", ["mutt"]),
        ("genus Canis", ["Canis"]),
        ("mutt, slang", ["mutt"]),
        ("mutt, q.v.", ["mutt"]),
    ],
)
def test_labels_and_numbers_are_cut_off(text: str, words: list[str]) -> None:
    assert targets(text, "dog") == (words, [], [MENDED])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("—", EMPTY),
        ("…", EMPTY),
        ("?!", EMPTY),
        ("cf. mutt", POINTER),
        ("cf mutt", POINTER),
        ("compare: mutt", POINTER),
        ("see also mutt", POINTER),
        ("See mutt", POINTER),
        ("see above", POINTER),
        ("all senses", NOTE),
        ("broader sense", NOTE),
        ("in all senses", NOTE),
        ("sense 2", NOTE),
        ("in logic", NOTE),
        ("in zoology", NOTE),
        ("Towns of the north", NOTE),
        ("kinds of hound", NOTE),
        ("any kind of hound: all kinds of hound", NOTE),
        ("antonym of cat", NOTE),
        ("Hardly negates to some cat", NOTE),
        ("word representing a hound", NOTE),
        ("any member of the genus Canis", NOTE),
        ("informal:", NOTE),
    ],
)
def test_notes_are_left_out(text: str, reason: str) -> None:
    assert targets(text, "dog") == ([], [reason], [])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "kick the bucket",
            "New York",
            "and/or",
            "24/7",
            "C#",
            "£",
            "&",
            "3:1",
            "A. Lincoln",
            "I.E.D.",
            "U.S.",
            "etc.",
        ),
        *(
            "see red",
            "see the light",
            "See of Rome",
            "compare notes",
            "in love",
            "in essence",
            "in hysterics",
            "in theory",
        ),
        *("common sense", "sixth sense", "in a sense", "all kinds of", "first in first out", "family Bible", "other"),
        *("Star Trek: Voyager", "House of Representatives", "get used to", "Kingdom of the Isles", "list", "usually"),
    ],
)
def test_phrases_are_no_notes(text: str) -> None:
    assert targets(text, "dog") == ([text], [], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("curs, hounds", (["curs", "hounds"], [], [SPLIT])),
        ("curs,hounds, mutts", (["curs", "hounds", "mutts"], [], [SPLIT])),
        ("old cur; young hound", (["old cur", "young hound"], [], [SPLIT])),
        ("cur / hound", (["cur", "hound"], [], [SPLIT])),
        ("barking. howling", (["barking", "howling"], [], [SPLIT])),
        ("cur; dog", (["cur"], [HEADWORD], [SPLIT])),
        ("cur; see also hound", (["cur"], [POINTER], [SPLIT])),
        ("there, there", (["there, there"], [], [COMMA])),
        ("no bark, no bite", (["no bark, no bite"], [], [COMMA])),
        ("Perth, Scotland", (["Perth, Scotland"], [], [COMMA])),
        ("a dog that has its day at last", (["a dog that has its day at last"], [], [LONG])),
    ],
)
def test_lists_are_split_and_what_may_be_no_word_is_counted(
    text: str, expected: tuple[list[str], list[str], list[str]]
) -> None:
    assert targets(text, "dog") == expected


def test_each_word_of_a_list_is_read_with_its_label(tmp_path: Path) -> None:
    found, notes = read(tmp_path, entry(senses=[], synonyms=words("heated, tepid", sense="of water")))
    assert found == [relation("warm", other, "synonym", "of water") for other in ("heated", "tepid")]
    assert notes.counted == {SPLIT: 1, "no senses": 1}


def test_parts_of_speech_have_full_names(tmp_path: Path) -> None:
    tags = ["adj", "intj", "name", "prep", "pron", "det", "conj", "num", "phrase", "particle"]
    found, _ = read(tmp_path, *(entry("warm", tag, [gloss("Warm.")]) for tag in tags))
    names = "adjective,interjection,proper noun,preposition,pronoun,determiner,conjunction,numeral,phrase,particle"
    assert [e.pos for e in found if isinstance(e, Gloss)] == names.split(",")


def test_options_leave_out_thesaurus_pages_and_entries(tmp_path: Path) -> None:
    senses = [gloss("Hot.", synonyms=words("heated") + words("torrid", source="Thesaurus:hot"))]
    line = entry(senses=senses, synonyms=words("tepid") + words("fiery", source="Thesaurus:hot"))

    def others(*options: str) -> tuple[list[str], Notes]:
        found, notes = read(tmp_path, line, options=options)
        return [r.other for r in found if isinstance(r, Relation)], notes

    found, notes = others()
    assert found == ["heated", "torrid", "tepid", "fiery"]
    [(said, count)] = notes.counted.items()
    assert count == 2
    assert "Thesaurus pages: of the wrong type where the extractor is older than 2025-12-18, leave them out by" in said
    assert NO_THESAURUS in said
    found, notes = others("no-thesaurus")
    assert (found, notes.skipped) == (["heated", "tepid"], {"from a Thesaurus page": 2})
    assert others("senses-only")[0] == ["heated", "torrid"]
    assert others("senses-only", "no-thesaurus")[0] == ["heated"]
    assert set(READER.options) == {"senses-only", "no-thesaurus"}


def test_tags_of_related_words_are_counted_and_filter_nothing(tmp_path: Path) -> None:
    senses = [
        gloss("Hot.", tags=["obsolete", "transitive"], synonyms=words("a") + words("b", tags=["obsolete", "rare"]))
    ]
    found, notes = read(tmp_path, entry(senses=senses, antonyms=words("c", tags=["slang", "UK"])))
    assert len(found) == 3
    assert notes.counted == {f"related words marked {m}": n for m, n in (("obsolete", 2), ("rare", 1), ("slang", 1))}


def test_other_languages_and_redirects_are_counted(tmp_path: Path) -> None:
    lines = [
        {**entry("warm", "adj", [gloss("Warm.", synonyms=words("heiß"))]), "lang_code": "de"},
        {**entry(), "lang_code": "fr", "novelty": 1, "synonyms": "wrong"},
        {"title": "warms", "redirect": "warm", "pos": "hard-redirect"},
        {**entry(), "lang_code": 7},
        b"",
        b" \r",
        entry(senses=[gloss("Hot.")]),
    ]
    found, notes = read(tmp_path, *lines)
    assert found == [Gloss("warm", "Hot.", "adjective")]
    assert notes.skipped == {"entry of another language": 2, "redirect, or record without lang_code": 2}
    assert not notes.counted


def test_unknown_and_missing_fields_are_counted(tmp_path: Path) -> None:
    senses = [gloss("Hot.", novelty=[1], synonyms=[{"word": "heated", "shine": 1}]), {"tags": ["no-gloss"]}]
    found, notes = read(
        tmp_path,
        entry(senses=senses, novelty={"word": 3}, forms=[{"form": "warmer", "tags": ["comparative"], "odd": 1}]),
        {"word": "cold", "lang_code": "en"},
        {"pos": "noun", "lang_code": "en", "senses": []},
        entry("", "noun"),
        entry("cool", None, None, synonyms=None),
    )
    assert found == [relation("warm", "heated", "synonym", "Hot."), Form("warmer", "warm", "adjective")]
    assert notes.counted == {
        "unknown field novelty": 1,
        "unknown field senses[].novelty": 1,
        "unknown field senses[].synonyms[].shine": 1,
        "no senses[].glosses": 1,
        "no pos": 2,
        "no senses": 2,
    }
    assert notes.skipped == {"record without a word": 2}


def test_unknown_fields_are_counted_by_name_up_to_a_bound(tmp_path: Path) -> None:
    found, notes = read(
        tmp_path, *(entry(senses=[gloss("Hot.")], **{f"field{i:03}" + "x" * 500: i}) for i in range(300))
    )
    assert len(found) == 300
    assert len(notes.counted) == 101
    assert notes.counted["unknown fields beyond the first hundred"] == 200
    assert max(map(len, notes.counted)) < 100


def test_wrong_types_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    senses = [
        gloss("Hot.", synonyms="heated", antonyms=words("cold")),
        {"glosses": "Kind.", "tags": {"a": 1}, "hypernyms": [["thing"], None, {"word": 3}, {"word": "state"}]},
        {"glosses": ["One.", 2], "form_of": {"word": "x"}},
        "no sense",
    ]
    line = entry("warm", ["adj"], senses, synonyms={"word": "a"}, forms=["b", {"form": 3, "tags": "plural"}])
    found, notes = read(tmp_path, line, entry(7), entry("x", "noun", "none"), entry("y", "noun", [gloss("Y.")]))
    assert found == [
        relation("warm", "cold", "antonym", "Hot.", None),
        relation("warm", "state", "hypernym", None, None),
        Gloss("warm", "One.", None),
        Gloss("y", "Y.", "noun"),
    ]
    assert notes.skipped == {
        "field pos of a wrong type": 1,
        "field senses[].synonyms of a wrong type": 1,
        "field senses[].glosses of a wrong type": 1,
        "field senses[].tags of a wrong type": 1,
        "item of senses[].hypernyms of a wrong type": 2,
        "field senses[].hypernyms[].word of a wrong type": 1,
        "item of senses[].glosses of a wrong type": 1,
        "field senses[].form_of of a wrong type": 1,
        "item of senses of a wrong type": 1,
        "field synonyms of a wrong type": 1,
        "item of forms of a wrong type": 1,
        "field forms[].form of a wrong type": 1,
        "field forms[].tags of a wrong type": 1,
        "field word of a wrong type": 1,
        "field senses of a wrong type": 1,
        "record without a word": 1,
        EMPTY: 1,
    }
    assert notes.counted == {"no pos": 1, "no senses[].glosses": 1, "no senses": 1}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"word": "hot", "lang_code": "en"', "broken JSON: "),
        (b'{"word": "hot" "lang_code": "en"}', r"broken JSON: .* \(character 16\)"),
        (b'{"word": "hot"} {"word": "cold"}', "broken JSON: "),
        (b'{"word": "h\\ud800t", "lang_code": "en"}', "broken JSON: "),
        (b'{"senses": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "broken JSON: "),
        (b'["hot"]', "expected a JSON object"),
        (b'"hot"', "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b"hot\tcold", "broken JSON: "),
        ('{"word": "naïve", "lang_code": "en"}'.encode("latin-1"), "not UTF-8"),
        (b'{"word": "x", "lang_code": "en", "senses": [{"glosses": ["\xff"]}]}', "not UTF-8"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=rf"w\.jsonl, line 3: {why}"):
        read(tmp_path, entry(), b"", line, entry())


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    line = b"\xef\xbb\xbf" + json.dumps(entry(senses=[gloss("Hot.")])).encode()
    assert read(tmp_path, line)[0] == [Gloss("warm", "Hot.", "adjective")]


@pytest.mark.parametrize("line", [{"word": "warm"}, {"hot": "cold"}, {**entry(), "lang_code": "de"}])
def test_a_file_without_english_is_an_error(tmp_path: Path, line: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"w\.jsonl: none of its lines is an entry whose lang_code is 'en'"):
        read(tmp_path, line)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_truncated_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    lines = [entry(f"word{i}", "noun", [gloss(f"Meaning {i * 7919 % 10_007}.")]) for i in range(3_000)]
    path = write(tmp_path / f"w.jsonl{suffix}", lines)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidInput, match=rf"w\.jsonl{suffix}: cannot be read after line \d+"):
        list(READER.read(File(path), Notes()))


def test_overlong_words_are_counted(tmp_path: Path) -> None:
    long = "x" * 10_000_000
    found, notes = read(
        tmp_path, entry(long), entry(senses=[gloss(long, synonyms=words(f"{long} {long}", f"{long}!", "hot", long))])
    )
    collection = Collection()
    collection.add("w", found)
    assert [(r.word, r.other) for r in collection.relations] == [("warm", "hot")]
    assert notes.skipped == {"word longer than 256 characters": 1, TOO_LONG: 1}
    assert collection.skipped["w"] == {"word longer than 256 characters": 2}


def test_the_sample_is_read_at_both_levels() -> None:
    folder = os.environ.get("SENSEDICT_TEST_DATA")
    path = Path(folder or "") / "lexical" / "wiktextract-en-sample.jsonl.xz"
    if not folder or not path.is_file():
        pytest.skip("SENSEDICT_TEST_DATA names no folder with the sample of wiktextract's output")

    def count(*options: str) -> tuple[int, int]:
        notes = Notes(options=frozenset(options))
        found = [r for r in READER.read(File(path), notes) if isinstance(r, Relation)]
        assert not [name for name in notes.counted if name.startswith("unknown field")]
        return sum(r.type == "synonym" for r in found), sum(r.type == "antonym" for r in found)

    both, senses = count(), count("senses-only")
    assert senses == (340, 54)  # as many as the file has, all clean
    assert 1762 + 340 >= both[0] > 2050
    assert both[1] == 299 + 54 - 1  # one is a note
