"""MorphoLEX as CSV and as its authors' workbook, whole and broken."""

from __future__ import annotations

import lzma
from pathlib import Path

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
