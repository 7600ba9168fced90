"""MorphoLEX as CSV and as its authors' workbook, whole and broken."""

from __future__ import annotations

import io
import lzma
import os
import zipfile
from pathlib import Path

import openpyxl
import pytest

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.readers import READERS, File, Notes
from sensedict_server.lexicon.relations import Segmentation


def read(path: Path) -> tuple[list[Segmentation], Notes]:
    notes = Notes()
    return [entry for entry in READERS["morpholex"].read(File(path), notes) if isinstance(entry, Segmentation)], notes


HEADER = "ELP_ItemID,Word,POS,Nmorph,PRS_signature,MorphoLexSegm\n"


def test_morpholex_gives_segmentations(tmp_path: Path) -> None:
    path = tmp_path / "morpholex.csv.xz"
    text = (
        HEADER
        + '1,UNKIND,JJ,2,"1,1,0",<un<(kind)\n2,unkind,JJ,2,"1,1,0",(unkind)\n3,<un<(tidy),JJ,2,"1,1,0",<un<(tidy)\n'
        + '4,odd,JJ,1,"0,1,0",odd\n'
    )
    path.write_bytes(lzma.compress(text.encode()))
    found, notes = read(path)
    assert found == [
        Segmentation("UNKIND", "<un<(kind)", frozenset({"adjective"})),
        Segmentation("unkind", "(unkind)", frozenset({"adjective"})),
    ]
    assert notes.skipped == {
        "segmentation in place of a word": 1,
        "segmentation that cannot be read": 1,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("word,segm\n", "line 1: expected a header with Word and MorphoLexSegm"),
        ("", "m.csv: the file is empty"),
        ("\n", "line 1: expected a header"),
        (HEADER + "1,unkind\n", "line 2: expected 6 cells"),
        (HEADER + '1,"unkind\n', "line 2: no CSV"),
    ],
)
def test_morpholex_names_a_broken_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(content, "utf-8")
    with pytest.raises(InvalidInput, match=message):
        read(path)


def test_morpholex_finds_columns_by_name_between_commas_or_tabs(tmp_path: Path) -> None:
    for name, content in (
        ("m.csv", "MorphoLexSegm,other,Word\n(kind),x,kind\n"),
        ("m.tsv", "other\tMorphoLexSegm\tWord\nx\t(kind)\tkind\n"),
    ):
        (tmp_path / name).write_text(content, "utf-8")
        found, notes = read(tmp_path / name)
        assert found == [Segmentation("kind", "(kind)")]
        assert not notes.counted


def test_morpholex_without_braces_says_so(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("Word,MorphoLexSegm_flat\nunkind,<un<(kind)\nwon't,\n", "utf-8")
    found, notes = read(path)
    assert found == [Segmentation("unkind", "<un<(kind)")]
    assert notes.counted == {"segmentations without braces": 1}
    assert notes.skipped == {"no segmentation": 1}
    path.write_text("Word,MorphoLexSegm_flat,MorphoLexSegm\nunkind,<un<(kind),<un<{(kind)}\n", "utf-8")
    found, notes = read(path)
    assert found == [Segmentation("unkind", "<un<{(kind)}")]
    assert not notes.counted


COLUMNS = ["ELP_ItemID", "Word", "POS", "MorphoLexSegm", "Root_Freq"]


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    book.close()
    return path


def test_the_workbook(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "m.xlsx",
        {
            "Presentation": [["MorphoLEX"]],
            "0-1-0": [
                COLUMNS,
                [1, "KIND", "JJ|NN", "{(kind)}", 0.5],
                [2, True, "JJ", "{(true)}"],
                [],
                [3, False, "JJ", "{(false)}"],
            ],
            "All prefixes": [["morpheme"], ["un"]],
            "1-1-0": [
                ["Word", "MorphoLexSegm"],
                ["unkind", "<un<{(kind)}"],
                ["<un<{(tidy)}", "<un<{(tidy)}"],
                [None, "(x)"],
            ],
        },
    )
    told: list[int] = []
    notes = Notes()
    found = list(READERS["morpholex"].read(File(path, told.append), notes))
    assert found == [
        Segmentation("KIND", "{(kind)}", frozenset({"adjective", "noun"})),
        Segmentation("true", "{(true)}", frozenset({"adjective"})),
        Segmentation("false", "{(false)}", frozenset({"adjective"})),
        Segmentation("unkind", "<un<{(kind)}"),
    ]
    assert notes.skipped == {"segmentation in place of a word": 1, "no word": 1}
    assert sum(told) == path.stat().st_size


def test_a_workbook_without_the_sheets_or_columns(tmp_path: Path) -> None:
    path = workbook(tmp_path / "m.xlsx", {"Presentation": [["MorphoLEX"]], "All roots": [["x"]]})
    with pytest.raises(
        InvalidInput, match=r"m.xlsx: no sheet is named like 0-1-0, .* there are Presentation, All roots"
    ):
        read(path)
    path = workbook(tmp_path / "m.xlsx", {"0-1-0": [COLUMNS, [1, "kind", "JJ", "(kind)"]], "0-2-0": [["Word"], ["x"]]})
    with pytest.raises(
        InvalidInput, match=r"m.xlsx, sheet 0-2-0, row 1: expected a header with Word and MorphoLexSegm"
    ):
        read(path)
    path = workbook(tmp_path / "m.xlsx", {"0-1-0": []})
    with pytest.raises(InvalidInput, match=r"m.xlsx, sheet 0-1-0, row 1: expected a header"):
        read(path)


def test_a_broken_workbook(tmp_path: Path) -> None:
    whole = workbook(
        tmp_path / "whole.xlsx", {"0-1-0": [COLUMNS, *([i, f"word{i}", "NN", f"(word{i})"] for i in range(500))]}
    ).read_bytes()
    path = tmp_path / "m.xlsx"
    for content in (whole[:-100], whole[:500], b"Word,MorphoLexSegm\nkind,(kind)\n", b""):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"m.xlsx: no xlsx workbook, or a broken one"):
            read(path)
    for part, old, new in (
        ("xl/worksheets/sheet1.xml", b"</sheetData>", b"<row"),
        ("xl/worksheets/sheet1.xml", b'<c r="B400" t="inlineStr">', b'<c r="B400" t="s"><v>9999</v>'),
    ):
        path.write_bytes(changed(whole, part, old, new))
        with pytest.raises(InvalidInput, match=r"m.xlsx, sheet 0-1-0: cannot be read after row \d+: "):
            read(path)


def changed(book: bytes, part: str, old: bytes, new: bytes) -> bytes:
    """The workbook with some bytes of one of its parts replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            content = before.read(name)
            assert name != part or old in content
            after.writestr(name, content.replace(old, new) if name == part else content)
    return out.getvalue()


def test_a_workbook_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "m.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(1000))
        archive.infolist()[0].file_size = 600 * 2**20
    with pytest.raises(InvalidInput, match=r"m.xlsx: unpacks to 600 MiB, more than 512"):
        read(path)


@pytest.mark.skipif(
    "SENSEDICT_TEST_DATA" not in os.environ, reason="SENSEDICT_TEST_DATA names no folder of further data"
)
@pytest.mark.parametrize(
    ("name", "words", "without"), [("morpholex-en-flat", 68_618, 7), ("morpholex-en-sheet-0-2-1", 1_520, 0)]
)
def test_lists_made_from_the_workbook(name: str, words: int, without: int) -> None:
    found, notes = read(Path(os.environ["SENSEDICT_TEST_DATA"]) / "lexical" / f"{name}.csv.xz")
    assert len(found) == words - without
    assert notes.skipped == ({"no segmentation": without} if without else {})
    assert {"true", "false"} <= {segmentation.word.lower() for segmentation in found} or words == 1_520
