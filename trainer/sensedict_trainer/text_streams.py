"""Documents of a data set that the library `datasets` reads: `datasets:NAME:CONFIG#SPLIT`, of the hub or a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensedict.errors import InvalidInput
from sensedict_trainer.text_files import Document, row_document, text_columns

PREFIX = "datasets:"
_SPLIT = "train"  # where none is named
# What `save_to_disk` leaves in a folder: of one split, of several.
_SAVED = ("state.json", "dataset_dict.json")


@dataclass(frozen=True)
class Stream:
    """A data set, read row after row and never held whole.

    Attributes:
        name: of the hub (`wikimedia/wikipedia`), or a folder, also one that `save_to_disk` wrote.
        config: as `20231101.en`; None for the only one.
        split: None for `train`.
    """

    name: str
    config: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        """As it is written on a command line."""
        return (
            PREFIX + self.name + (f":{self.config}" if self.config else "") + (f"#{self.split}" if self.split else "")
        )

    @property
    def folder(self) -> Path | None:
        """The folder that it is; None for a name of the hub."""
        path = Path(self.name).expanduser()
        return path if path.is_dir() else None


def parse_stream(text: str) -> Stream:
    """The data set that `datasets:NAME`, `datasets:NAME:CONFIG`, either with `#SPLIT`, names.

    >>> parse_stream("datasets:wikimedia/wikipedia:20231101.en#train")
    Stream(name='wikimedia/wikipedia', config='20231101.en', split='train')

    Raises:
        InvalidInput: a part of it is empty.
    """
    place, hash_sign, split = text.removeprefix(PREFIX).partition("#")
    name, colon, config = place.partition(":")
    if not name or (colon and not config) or (hash_sign and not split):
        raise InvalidInput(
            f"{text!r}: a data set is named as datasets:NAME, datasets:NAME:CONFIG or datasets:NAME#SPLIT"
        )
    return Stream(name, config or None, split or None)


def check_stream(stream: Stream) -> None:
    """Look at what tells of a data set without reading it: name, config, split and columns.

    Raises:
        InvalidInput: there is none of that name, it cannot be reached, or no column of it is the text.
    """
    _open(stream)


def read_stream(stream: Stream) -> Iterator[Document]:
    """The documents of a data set, one a row; a row without text is passed over.

    Raises:
        InvalidInput: as `check_stream`; or it breaks off in the middle, is no text or is empty; the row is named.
    """
    rows, columns = _open(stream)
    name = f"{Path(stream.name).name}:{stream.split or _SPLIT}"
    found = 0
    for number, row in enumerate(_each(stream, rows), start=1):
        columns = columns or _columns(stream, row)
        document = row_document(row, columns, f"{name}:{number}", f"{stream}, row {number}")
        if document is not None:
            found += 1
            yield document
    if not found:
        raise InvalidInput(f"{stream}: the data set holds no text")


def read_rows(stream: Stream) -> Iterator[Mapping[str, Any]]:
    """The rows of a data set with all their columns.

    Raises:
        InvalidInput: there is none of that name, it cannot be reached, or it breaks off in the middle.
    """
    return _each(stream, _open_rows(stream))


def stream_hash(stream: Stream) -> str:
    """sha256 over what decides the content: a folder's files, or the hub's revision; the config and the split.

    Raises:
        InvalidInput: there is none of that name, or it cannot be reached.
    """
    from sensedict.fileset import hash_file

    content: list[Any] = [stream.config, stream.split or _SPLIT]
    folder = stream.folder
    if folder is None:
        content += [stream.name, _builder(stream).hash]
    else:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        content += [[str(p.relative_to(folder)), hash_file(p).sha256] for p in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _each(stream: Stream, rows: Any) -> Iterator[Mapping[str, Any]]:
    """Row after row; what goes wrong on the way is named."""
    coming = iter(rows)
    number = 0
    while True:
        number += 1
        try:
            row = next(coming)
        except StopIteration:
            return
        except Exception as error:  # the network, a broken file of any format
            raise InvalidInput(f"{stream}, row {number}: cannot be read: {_first_line(error)}") from error
        yield row


def _open_rows(stream: Stream) -> Any:
    """Its rows, none of them read."""
    import datasets

    datasets.disable_progress_bars()  # ours say what a user waits for
    folder = stream.folder
    try:
        if folder is not None and any((folder / name).is_file() for name in _SAVED):
            return _saved(stream, datasets.load_from_disk(str(folder)))
        _check_name(stream)
        where = stream.name if folder is None else str(folder.resolve())
        return datasets.load_dataset(where, stream.config, split=stream.split or _SPLIT, streaming=True)
    except InvalidInput:
        raise
    except Exception as error:  # each format and each fault of the network has its own
        raise InvalidInput(f"{stream}: cannot be opened: {_first_line(error)}") from error


def _open(stream: Stream) -> tuple[Any, tuple[str, ...] | None]:
    """Its rows, and the columns that are the text; None where only a row can tell."""
    rows = _open_rows(stream)
    if rows.features is None:
        return rows, None
    strings = {name: getattr(kind, "dtype", None) in ("string", "large_string") for name, kind in rows.features.items()}
    columns = text_columns(strings, str(stream))
    return rows.select_columns([*columns, *(["id"] if "id" in strings else [])]), columns


def _saved(stream: Stream, loaded: Any) -> Any:
    """The split of what `save_to_disk` wrote, mapped from the disk."""
    if not isinstance(loaded, Mapping):
        if stream.split is not None and stream.split != str(loaded.split):
            raise InvalidInput(f"{stream}: the folder holds one split, {loaded.split}: leave out #{stream.split}")
        return loaded.to_iterable_dataset()
    split = stream.split or _SPLIT
    if split not in loaded:
        raise InvalidInput(f"{stream}: there is no split {split}; it has {', '.join(loaded)}")
    return loaded[split].to_iterable_dataset()


def _builder(stream: Stream) -> Any:
    import datasets

    try:
        return datasets.load_dataset_builder(stream.name, stream.config)
    except Exception as error:
        raise InvalidInput(f"{stream}: cannot be opened: {_first_line(error)}") from error


def _check_name(stream: Stream) -> None:
    """A path that is none is not asked of the hub."""
    if stream.folder is None and (stream.name.startswith((".", "/", "~")) or stream.name.count("/") > 1):
        raise InvalidInput(f"{stream}: there is no folder {stream.name}")


def _columns(stream: Stream, row: Mapping[str, Any]) -> tuple[str, ...]:
    return text_columns({name: isinstance(value, str) for name, value in row.items()}, str(stream))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
