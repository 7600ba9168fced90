"""MorphoLEX-English: words and how they are built, saved from its workbook as CSV. It holds no relations."""

from __future__ import annotations

import csv
from collections import Counter

from sensedict_server.lexicon.negation import check_segmentation
from sensedict_server.lexicon.readers.files import File

KIND = "morpholex"
LICENCE = "CC BY-NC-SA 4.0"
VERSION = "MorphoLEX-English"
_WORD, _SEGMENTATION = "Word", "MorphoLexSegm"


def read_segmentations(file: File, skipped: Counter[str]) -> dict[str, str]:
    """Word, in lower case, to segmentation; the first one of a word counts.

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
    found: dict[str, str] = {}
    for number, line in lines:
        cells = _cells(file, number, line)
        if len(cells) != len(header):
            raise file.broken(number, f"expected {len(header)} cells as in the header, got {len(cells)}")
        word, segmentation = cells[word_at].strip().lower(), cells[segmentation_at].strip()
        try:
            check_segmentation(segmentation)
        except ValueError:
            skipped["segmentation that cannot be read"] += 1
            continue
        if not word or set(word) & set("<>(){}"):
            skipped["segmentation in place of a word"] += 1
        elif word in found:
            skipped["listed before"] += 1
        else:
            found[word] = segmentation
    return found


def _cells(file: File, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise file.broken(number, f"no CSV: {error}") from error
