"""Rows of a task's file: JSON lines as the authors ship them, or a data set that the library `datasets` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensedict.errors import InvalidInput, reason
from sensedict_trainer.text_files import COMPRESSIONS, Bytes, json_line, unpacked
from sensedict_trainer.text_sources import sources_hash
from sensedict_trainer.text_streams import PREFIX, parse_stream, read_rows

SUFFIXES = (".jsonl", *(f".jsonl{packing}" for packing in COMPRESSIONS))


@dataclass(frozen=True)
class Row:
    """One row, and where it stands: `file:line`, or `set:split:row`."""

    where: str
    values: Mapping[str, Any]


def find_file(folder: Path, stem: str) -> str:
    """The file `stem.jsonl` of a folder, as it is or compressed.

    Raises:
        InvalidInput: the folder has none; names what it looked for.
    """
    for suffix in SUFFIXES:
        if (path := folder / (stem + suffix)).is_file():
            return str(path)
    what = "is no folder" if not folder.is_dir() else "does not hold it"
    raise InvalidInput(
        f"no file {stem}.jsonl (or .xz, .gz, .bz2, .zst): {folder} {what}; docs/tasks.md names the files"
    )


def load_rows(source: str) -> list[Row]:
    """All rows of a file, or of `datasets:NAME:CONFIG#SPLIT`.

    Raises:
        InvalidInput: it is missing, empty, broken, or a line of it is no JSON object; names file and line.
    """
    rows = list(_of_stream(source) if source.startswith(PREFIX) else _of_file(Path(source)))
    if not rows:
        raise InvalidInput(f"{source} holds no rows")
    return rows


def content_hash(source: str) -> str:
    """sha256 of what decides the rows of a source."""
    ((_, found),) = sources_hash([source])
    return found


def name_of(source: str) -> str:
    """What a source is called in messages and ids: the file's name."""
    return str(parse_stream(source)) if source.startswith(PREFIX) else Path(source).name


def require(row: Row, fields: Sequence[str], what: str, known: Mapping[str, Sequence[str]]) -> None:
    """Let pass a row that has some fields.

    Args:
        what: the data set's name; known: the fields of all data sets, by name.

    Raises:
        InvalidInput: one is missing; says what the row has, and of which data sets it could be.
    """
    missing = [name for name in fields if name not in row.values]
    if missing:
        like = [name for name, theirs in known.items() if set(theirs) <= set(row.values)]
        hint = f": it is a row of {' or '.join(like)}" if like else ""
        raise InvalidInput(
            f"{row.where}: no field {missing[0]!r}: {what} has {', '.join(fields)}, "
            f"this row {', '.join(map(str, row.values)) or 'nothing'}{hint}"
        )


def _of_stream(source: str) -> Iterator[Row]:
    stream = parse_stream(source)
    name = f"{Path(stream.name).name}:{stream.split or 'train'}"
    for number, values in enumerate(read_rows(stream), start=1):
        yield Row(f"{name}:{number}", values)


def _of_file(path: Path) -> Iterator[Row]:
    if not path.name.endswith(SUFFIXES):
        raise InvalidInput(f"{path}: a task's file is one of JSON lines: {', '.join(SUFFIXES)}")
    try:
        yield from unpacked(path, _lines)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {reason(error)}") from error


def _lines(stream: Bytes, path: Path) -> Iterator[Row]:
    for number, raw in enumerate(stream, start=1):
        if not raw.strip():
            continue
        values = json_line(raw, path, number)
        if not isinstance(values, dict):
            raise InvalidInput(f"{path}, line {number}: not a JSON object")
        yield Row(f"{path.name}:{number}", values)
