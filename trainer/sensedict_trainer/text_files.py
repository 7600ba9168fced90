"""Documents of a file: plain text, JSON lines, Parquet, and the extracts of a wiki that wikiextractor writes."""

from __future__ import annotations

import bz2
import gzip
import html
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

from sensedict.errors import InvalidInput, reason
from sensedict_trainer.chat import CHATS, Message, messages_of

COMPRESSIONS = (".gz", ".xz", ".bz2", ".zst")
Bytes: TypeAlias = IO[bytes] | gzip.GzipFile
Read = TypeVar("Read")
_KINDS = ".txt or .jsonl (as they are or as .gz, .xz, .bz2 or .zst), .parquet, or wiki_00 and so on of wikiextractor"
_WIKI = re.compile(r"wiki_[0-9]{2,}", re.ASCII)  # wikiextractor gives its files no suffix
_DOC = re.compile(r'<doc id="([^"]*)"[^\n]*>\s*')
_PIECE = 16 * 2**20  # bytes of plain text held at once
_ROWS = 256  # of a Parquet file held at once


@dataclass(frozen=True)
class Document:
    """A text with a name that stays the same whatever is read beside it; or a chat, which a template makes a text."""

    id: str
    text: str
    messages: tuple[Message, ...] = ()


def find_files(path: Path) -> list[Path]:
    """The text files that a path stands for: itself, or those in a folder and its folders, by name.

    Raises:
        InvalidInput: a path that is missing, of another kind, or a folder without text.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and _kind(p) is not None)
        if not found:
            arrow = ": what `datasets` saved is named as datasets:FOLDER" if any(path.rglob("*.arrow")) else ""
            raise InvalidInput(f"{path}: no text in this folder; a file of text is {_KINDS}{arrow}")
        return found
    if not path.exists():
        raise InvalidInput(f"{path}: there is no such file or folder")
    if _kind(path) is None:
        raise InvalidInput(f"{path}: a file of text is {_KINDS}")
    return [path]


def check_file(path: Path) -> None:
    """Look at what tells of a file without reading it: that it may be opened, and a Parquet file's columns.

    Raises:
        InvalidInput: it cannot be read, or no column of it is the text.
    """
    try:
        with path.open("rb"):
            pass
        if _kind(path) == "parquet":
            _open_parquet(path)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({reason(error)})") from error


def read_file(path: Path) -> Iterator[Document]:
    """The documents of a file.

    A `.txt` file is one document, or where it is longer than 16 MiB as many as that makes, cut between lines; a line of
    `.jsonl` is one, with `text`, or a chat's `messages`, or `prompt` and `answer`, and, if it likes, `id`; so is a row
    of Parquet, and an article of a wiki.

    Raises:
        InvalidInput: an empty, undecodable or broken file; the message names file and line or row.
    """
    kind = _kind(path)
    found = 0
    try:
        if kind == "parquet":
            documents = _parquet(path)
        else:
            documents = unpacked(path, {"txt": _plain, "jsonl": _json_lines, "wiki": _wiki}[str(kind)])
        for document in documents:
            found += 1
            yield document
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({reason(error)})") from error
    if not found:
        raise InvalidInput(f"{path}: the file holds no text")


def row_document(row: Mapping[str, Any], columns: Sequence[str], name: str, where: str) -> Document | None:
    """The document of a row of a table or a JSON object; None where its text is null.

    Args:
        columns: as `text_columns` gives them.
        name: what it is called that has no `id`; where: what it is called in an error.

    Raises:
        InvalidInput: `text` is no string, a chat is none, or half a character.
    """
    given = row.get("id")
    called = name if given is None else str(given)
    if tuple(columns) in CHATS:
        messages = messages_of(row, where)
        for message in messages:
            _check_whole(message["content"], columns[0], where)
        return Document(called, "", messages) if messages else None
    (column,) = columns
    text = row.get(column)
    if text is None:
        return None
    if not isinstance(text, str):
        raise InvalidInput(f"{where}: `{column}` is {type(text).__name__}, and must be a string")
    _check_whole(text, column, where)
    return Document(called, text)


def text_columns(columns: Mapping[str, bool], where: str) -> tuple[str, ...]:
    """The columns that are the text: `text`; a chat's, see `CHATS`; or the only one of strings but for `id`.

    Args:
        columns: names, and whether each holds strings.

    Raises:
        InvalidInput: there is no such column; names those that there are.
    """
    strings = [name for name, is_string in columns.items() if is_string and name != "id"]
    if "text" in strings:
        return ("text",)
    for chat in CHATS:
        if set(chat) <= set(columns):
            return chat
    if len(strings) == 1:
        return (strings[0],)
    raise InvalidInput(
        f"{where}: no column `text` of strings, and {len(strings) or 'none'} of the columns {', '.join(columns)} "
        "could be it: rename the one that is the text; a chat has `messages`, or `prompt` and `answer`"
    )


def _kind(path: Path) -> str | None:
    if path.suffix == ".parquet":
        return "parquet"
    plain = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    if _WIKI.fullmatch(plain.name):
        return "wiki"
    return plain.suffix[1:] if plain.suffix in (".txt", ".jsonl") else None


def unpacked(path: Path, read: Callable[[Bytes, Path], Iterator[Read]]) -> Iterator[Read]:
    """What `read` makes of a file's bytes, unpacked as its suffix says.

    Raises:
        InvalidInput: the compressed file is broken or cut short.
    """
    try:
        with _open(path) as stream:
            yield from read(stream, path)
    except (lzma.LZMAError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path}: the compressed file is broken or cut short ({error})") from error
    except OSError as error:  # a system's error has a number; the others are how these libraries name a broken file
        if path.suffix not in COMPRESSIONS or error.errno is not None:
            raise
        raise InvalidInput(f"{path}: the compressed file is broken or cut short ({error})") from error


def _open(path: Path) -> Bytes:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    if path.suffix == ".bz2":
        return bz2.open(path, "rb")
    if path.suffix == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(path, compression="zstd"))
    return path.open("rb")


def _decode(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        raise InvalidInput(f"{path}, line {line}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _plain(stream: Bytes, path: Path) -> Iterator[Document]:
    line = number = 1
    rest = b""
    while raw := rest + (fresh := stream.read(_PIECE)):
        end = len(raw) if len(fresh) < _PIECE else _cut(raw)
        raw, rest = raw[:end], raw[end:]
        text = _decode(raw, path, line)
        line += raw.count(b"\n")
        if text.strip():
            yield Document(path.name if number == 1 else f"{path.name}:{number}", text)
            number += 1


def _cut(raw: bytes) -> int:
    """Where the last whole line ends, or word, or in a script without blanks character."""
    if (end := raw.rfind(b"\n") + 1) or (end := raw.rfind(b" ")) > 0:
        return end
    return next((i for i in range(len(raw) - 1, 0, -1) if raw[i] & 0xC0 != 0x80), len(raw))


def _json_lines(stream: Bytes, path: Path) -> Iterator[Document]:
    for number, raw in enumerate(stream, start=1):
        if raw.strip():
            yield _json_document(raw, path, number)


def json_line(raw: bytes, path: Path, line: int) -> Any:
    """The JSON value of a line. Raises `InvalidInput`, naming file and line, where it is none."""
    where = f"{path}, line {line}"
    try:
        return json.loads(_decode(raw, path, line))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise InvalidInput(f"{where}: JSON that cannot be read ({error})") from error


def _json_document(raw: bytes, path: Path, line: int) -> Document:
    row = json_line(raw, path, line)
    where = f"{path}, line {line}"
    document, there = None, ""
    if isinstance(row, dict):
        there = f"; it has {', '.join(row) or 'nothing'}"
        kinds = [("text",)] if isinstance(row.get("text"), str) else [c for c in CHATS if set(c) <= set(row)]
        if kinds:
            document = row_document(row, kinds[0], f"{path.name}:{line}", where)
    if document is None:
        raise InvalidInput(
            f"{where}: a JSON object with a string `text` is needed, or `messages`, or `prompt` and `answer`{there}"
        )
    return document


def _check_whole(text: str, column: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise InvalidInput(f"{where}: half a character, {half}, in `{column}`") from error


def _wiki(stream: Bytes, path: Path) -> Iterator[Document]:
    """Articles as `<doc id="12" …>`, text, `</doc>`, or as JSON lines; either way `<`, `>` and `&` are escaped."""
    article: str | None = None
    lines: list[str] = []
    begun = 0
    for number, raw in enumerate(stream, start=1):
        if article is not None:
            if raw.strip() == b"</doc>":
                yield Document(article, html.unescape("".join(lines)).strip("\n"))
                article = None
            else:
                lines.append(_decode(raw, path, number))
        elif raw.startswith(b"{"):
            found = _json_document(raw, path, number)
            yield Document(found.id, html.unescape(found.text))
        elif raw.strip():
            begin = _DOC.fullmatch(_decode(raw, path, number))
            if begin is None:
                raise InvalidInput(
                    f"{path}, line {number}: neither <doc id=…> nor JSON: wikiextractor did not write this"
                )
            article, lines, begun = begin[1], [], number
    if article is not None:
        raise InvalidInput(f"{path}, line {begun}: the article {article} has no </doc>: the file is cut short")


def _open_parquet(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The open file, and the columns that are the text."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    def is_text(kind: Any) -> bool:
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        return bool(
            pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind)
        )

    try:
        # Without pre_buffer pages are read one after another; with it, a whole row group of some gigabytes.
        file = ParquetFile(path, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True)
    except pyarrow.ArrowException as error:
        raise InvalidInput(f"{path}: no Parquet file, or a broken one ({error})") from error
    return file, text_columns({field.name: is_text(field.type) for field in file.schema_arrow}, str(path))


def _parquet(path: Path) -> Iterator[Document]:
    import pyarrow

    file, text = _open_parquet(path)
    columns = [*text, *(["id"] if "id" in file.schema_arrow.names else [])]
    number = 0
    try:
        with file:
            for batch in file.iter_batches(_ROWS, columns=columns):
                for i in range(batch.num_rows):
                    number += 1
                    row = {name: batch.column(name)[i].as_py() for name in columns}
                    document = row_document(row, text, f"{path.name}:{number}", f"{path}, row {number}")
                    if document is not None:
                        yield document
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}, row {number}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except pyarrow.ArrowException as error:
        raise InvalidInput(f"{path}, after row {number}: the file is broken ({error})") from error
