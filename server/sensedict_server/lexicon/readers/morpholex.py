"""MorphoLEX-English: words and how they are built, saved from its workbook as CSV. It holds no relations."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from sensedict_server.lexicon.negation import check_segmentation
from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.relations import Segmentation

_WORD, _SEGMENTATION, _POS = "Word", "MorphoLexSegm", "POS"
_PARTS_OF_SPEECH = {"NN": "noun", "VB": "verb", "JJ": "adjective", "RB": "adverb"}


def read(file: File, notes: Notes) -> Iterator[Segmentation]:
    """Word to segmentation.

    The workbook writes some words in capitals, and has a segmentation in the word's cell here and there; the latter are
    counted.

    Raises:
        InvalidInput: no columns `Word` and `MorphoLexSegm`, or a row without them; names the line.
    """
    lines = file.lines()
    header = _cells(file, *next(lines, (1, "")))
    if _WORD not in header or _SEGMENTATION not in header:
        raise file.broken(1, f"expected a header with {_WORD} and {_SEGMENTATION}, got {header[:8]}")
    word_at, segmentation_at = header.index(_WORD), header.index(_SEGMENTATION)
    pos_at = header.index(_POS) if _POS in header else None
    for number, line in lines:
        cells = _cells(file, number, line)
        if len(cells) != len(header):
            raise file.broken(number, f"expected {len(header)} cells as in the header, got {len(cells)}")
        word, segmentation = cells[word_at].strip(), cells[segmentation_at].strip()
        try:
            check_segmentation(segmentation)
        except ValueError:
            notes.skipped["segmentation that cannot be read"] += 1
            continue
        if not word or set(word) & set("<>(){}"):
            notes.skipped["segmentation in place of a word"] += 1
            continue
        yield Segmentation(word, segmentation, _parts_of_speech("" if pos_at is None else cells[pos_at]))


def _parts_of_speech(cell: str) -> frozenset[str]:
    return frozenset(_PARTS_OF_SPEECH[tag] for tag in cell.split("|") if tag in _PARTS_OF_SPEECH)


def _cells(file: File, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise file.broken(number, f"no CSV: {error}") from error


READER = Reader("morpholex", "CC BY-NC-SA 4.0", "MorphoLEX-English", read)
