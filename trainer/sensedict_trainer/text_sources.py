"""Where text comes from: files and folders by their paths, data sets as `datasets:NAME:CONFIG#SPLIT`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sensedict.fileset import hash_file
from sensedict_trainer.text_files import Document, check_file, find_files, read_file
from sensedict_trainer.text_streams import PREFIX, Stream, check_stream, parse_stream, read_stream, stream_hash

# For the help of an option that takes sources.
KINDS = (
    "A file .txt or .jsonl (also .gz, .xz, .bz2, .zst), .parquet or wiki_00 of wikiextractor, a folder of such files, "
    "or datasets:NAME[:CONFIG][#SPLIT] of the hub or a folder: `text`, or chats: `messages`, or `prompt` and `answer`."
)


def check_sources(sources: Sequence[str | Path]) -> None:
    """Look at sources without reading them, so that one that is wrong is known before any work.

    Raises:
        InvalidInput: one that is missing, of another kind, without text, or without a column that is the text.
    """
    for source in map(_source, sources):
        if isinstance(source, Stream):
            check_stream(source)
        else:
            for file in find_files(source):
                check_file(file)


def read_documents(sources: Sequence[str | Path]) -> Iterator[Document]:
    """Documents of sources, in the order given; those of a folder by file name. See `read_file` and `read_stream`.

    Raises:
        InvalidInput: a missing, empty, undecodable or broken source; the message names file and line or row.
    """
    for source in map(_source, sources):
        if isinstance(source, Stream):
            yield from read_stream(source)
        else:
            for file in find_files(source):
                yield from read_file(file)


def sources_hash(sources: Sequence[str | Path]) -> list[list[str]]:
    """[name, sha256] of each source: what decides its documents, whatever folder it lies in.

    Raises:
        InvalidInput: as `check_sources`.
    """
    found = []
    for source in map(_source, sources):
        if isinstance(source, Stream):
            folder = source.folder
            name = str(source if folder is None else Stream(folder.resolve().name, source.config, source.split))
            found.append([name, stream_hash(source)])
        else:
            found.append([source.absolute().name, _path_hash(source)])
    return found


def _source(source: str | Path) -> Stream | Path:
    text = str(source)
    return parse_stream(text) if text.startswith(PREFIX) else Path(text)


def _path_hash(path: Path) -> str:
    files = find_files(path)
    if files == [path]:
        return hash_file(path).sha256
    digest = hashlib.sha256()
    for file in files:
        name = f"{file.relative_to(path)}\x00{hash_file(file).sha256}\x00"
        digest.update(name.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
