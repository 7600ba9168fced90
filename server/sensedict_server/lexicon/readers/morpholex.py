"""MorphoLEX-English: words and how they are built, from its authors' workbook or a CSV of it. It holds no relations."""

from __future__ import annotations

import csv
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import openpyxl

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.negation import check_segmentation
from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.relations import Segmentation

_WORD, _SEGMENTATION, _POS = "Word", "MorphoLexSegm", "POS"
_FLAT = "MorphoLexSegm_flat"  # of lists that were made from it, without the braces round a base
_PARTS_OF_SPEECH = {"NN": "noun", "VB": "verb", "JJ": "adjective", "RB": "adverb"}
_SHEET = re.compile(r"\d+-\d+-\d+")  # prefixes, roots, suffixes of its words; other sheets explain and count
_MOST_UNPACKED = 512 * 2**20  # bytes of a workbook; the authors' own has about a tenth
_UNREADABLE = (zipfile.BadZipFile, OSError, EOFError, KeyError, IndexError, ValueError, TypeError, SyntaxError)

Rows = Iterator[tuple[str, list[str]]]  # where a row stands, for errors, and its cells; the first one is the header


def read(file: File, notes: Notes) -> Iterator[Segmentation]:
    """Word to segmentation, from .xlsx, or .csv and .tsv, compressed or not.

    The workbook writes some words in capitals, and has a segmentation in the word's cell here and there; the latter are
    counted. So are segmentations without braces: they cannot tell distrust from distract.

    Raises:
        InvalidInput: no workbook, no columns `Word` and `MorphoLexSegm` (or `MorphoLexSegm_flat`), a row without them,
            or a workbook that unpacks to more than it should; names the line, or the sheet and row.
    """
    tables = _sheets(file) if file.path.suffix.lower() == ".xlsx" else iter([_lines(file)])
    for rows in tables:
        yield from _segmentations(file, rows, notes)


def _segmentations(file: File, rows: Rows, notes: Notes) -> Iterator[Segmentation]:
    place, header = next(rows)
    flat = _SEGMENTATION not in header and _FLAT in header
    if _WORD not in header or not (flat or _SEGMENTATION in header):
        shown = [cell[:40] for cell in header[:8]]
        raise InvalidInput(f"{file.path}, {place}: expected a header with {_WORD} and {_SEGMENTATION}, got {shown}")
    word_at, segmentation_at = header.index(_WORD), header.index(_FLAT if flat else _SEGMENTATION)
    pos_at = header.index(_POS) if _POS in header else None
    for place, cells in rows:
        if len(cells) != len(header):
            raise InvalidInput(f"{file.path}, {place}: expected {len(header)} cells as in the header, got {len(cells)}")
        word, segmentation = cells[word_at].strip(), cells[segmentation_at].strip()
        if not word:
            notes.skipped["no word"] += 1
        elif set(word) & set("<>(){}"):
            notes.skipped["segmentation in place of a word"] += 1
        elif not segmentation:
            notes.skipped["no segmentation"] += 1
        elif not _readable(segmentation):
            notes.skipped["segmentation that cannot be read"] += 1
        else:
            if flat:
                notes.counted["segmentations without braces"] += 1
            yield Segmentation(word, segmentation, _parts_of_speech("" if pos_at is None else cells[pos_at]))


def _readable(segmentation: str) -> bool:
    try:
        check_segmentation(segmentation)
    except ValueError:
        return False
    return True


def _parts_of_speech(cell: str) -> frozenset[str]:
    return frozenset(_PARTS_OF_SPEECH[tag] for tag in cell.split("|") if tag in _PARTS_OF_SPEECH)


def _lines(file: File) -> Rows:
    """Rows of a text file: of fields between tabs where its header has tabs, else of CSV."""
    tabs: bool | None = None
    for number, line in file.lines():
        if tabs is None:
            tabs = "\t" in line
        try:
            yield f"line {number}", line.split("\t") if tabs else next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            raise file.broken(number, f"no CSV: {error}") from error
    if tabs is None:
        yield "line 1", []


def _sheets(file: File) -> Iterator[Rows]:
    """Rows of each sheet that lists words.

    Raises:
        InvalidInput: as `read`.
    """
    left = file.path.stat().st_size if file.path.is_file() else 0

    def watch(count: int) -> None:  # a workbook is read here and there, some of it twice
        nonlocal left
        told = min(count, left)
        left -= told
        file.watch(told)

    with File(file.path, watch).binary() as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > _MOST_UNPACKED:
                raise InvalidInput(
                    f"{file.path}: unpacks to {unpacked // 2**20} MiB, more than {_MOST_UNPACKED // 2**20}: is it"
                    " MorphoLEX's workbook?"
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of styles and extensions that openpyxl leaves out
                workbook = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except (*_UNREADABLE, RuntimeError) as error:
            raise InvalidInput(f"{file.path}: no xlsx workbook, or a broken one: {error}") from error
        with closing(workbook):
            named = [sheet for sheet in workbook.worksheets if _SHEET.fullmatch(sheet.title.strip())]
            if not named:
                raise InvalidInput(
                    f"{file.path}: no sheet is named like 0-1-0, as MorphoLEX names them; there are"
                    f" {', '.join(workbook.sheetnames[:8])}"
                )
            for sheet in named:
                yield _rows(file, sheet.title, sheet.iter_rows)
    file.watch(left)  # of sheets that were passed over


def _rows(file: File, title: str, iter_rows: Callable[..., Iterator[tuple[Any, ...]]]) -> Rows:
    number = width = 0
    try:
        for number, values in enumerate(iter_rows(values_only=True), 1):
            cells = [_text(value) for value in values]
            if not any(cells):
                continue
            width = width or max(at for at, cell in enumerate(cells, 1) if cell)  # of the header
            cells = [*cells[:width], *[""] * (width - len(cells))]
            yield f"sheet {title}, row {number}", cells
        if not width:
            yield f"sheet {title}, row 1", []
    except _UNREADABLE as error:
        raise InvalidInput(f"{file.path}, sheet {title}: cannot be read after row {number}: {error}") from error


def _text(value: object) -> str:
    """A cell as it was typed: Excel made booleans of the words true and false."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


READER = Reader("morpholex", "CC BY-NC-SA 4.0", "MorphoLEX-English", read)
