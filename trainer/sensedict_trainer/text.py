"""Text, from files to windows of tokens; the dictionary's builder and the trainer read it the same way."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict.errors import InvalidInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SUFFIXES = (".txt", ".jsonl")
COMPRESSIONS = (".gz", ".xz")
SHORTEST_WINDOW = 8  # tokens; a shorter tail has too little left context to be worth a pass
TOKENIZED_CHARACTERS = 1 << 20  # of text tokenized at once: some 250,000 tokens, for which a tokenizer takes 50 MB
NO_WINDOW = f"the text has no window of at least {SHORTEST_WINDOW} tokens"


@dataclass(frozen=True)
class Document:
    """A text with a name that stays the same whatever is read beside it."""

    id: str
    text: str


@dataclass(frozen=True)
class TokenWindow:
    """Consecutive tokens of one document.

    Attributes:
        id: document id and number of the window, e.g. `Art#3`: what draws are keyed by.
        ids: (T,) int32; the target of position i is `ids[i + 1]`, so the last position has none.
    """

    id: str
    ids: NDArray[np.int32]


def text_files(paths: Sequence[Path]) -> list[Path]:
    """The text files that paths stand for, folders by file name; so a path that is wrong is known before any work.

    Raises:
        InvalidInput: a path that is missing, of another kind, or a folder without text.
    """
    return [file for path in paths for file in _files(path)]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and _kind(p) is not None)
        if not found:
            raise InvalidInput(f"{path}: no .txt or .jsonl file (.gz and .xz too) in this folder")
        return found
    if not path.exists():
        raise InvalidInput(f"{path}: there is no such file or folder")
    if _kind(path) is None:
        raise InvalidInput(f"{path}: text must be .txt or .jsonl, as it is or as .gz or .xz")
    return [path]


def _kind(path: Path) -> str | None:
    suffix = Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    return suffix if suffix in SUFFIXES else None


def _open(path: Path) -> BinaryIO | gzip.GzipFile | lzma.LZMAFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def _decode(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        raise InvalidInput(f"{path}, line {line}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _document(raw: bytes, path: Path, line: int) -> Document:
    try:
        row = json.loads(_decode(raw, path, line))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path}, line {line}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise InvalidInput(f"{path}, line {line}: JSON that cannot be read ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise InvalidInput(f"{path}, line {line}: a JSON object with a string `text` is needed")
    try:
        row["text"].encode("utf-8")
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise InvalidInput(f"{path}, line {line}: half a character, {half}, in `text`") from error
    return Document(str(row.get("id", f"{path.name}:{line}")), row["text"])


def read_documents(paths: Sequence[Path]) -> Iterator[Document]:
    """Documents of files and folders, in the order given; folders by file name.

    A `.txt` file is one document; a line of `.jsonl` is one, with `text` and, if it likes, `id`.

    Raises:
        InvalidInput: a missing, empty, undecodable or broken file; the message names file and line.
    """
    for path in text_files(paths):
        found = 0
        try:
            with _open(path) as stream:
                if _kind(path) == ".txt":
                    text = _decode(stream.read(), path, 1)
                    if text.strip():
                        found += 1
                        yield Document(path.name, text)
                else:
                    for number, raw in enumerate(stream, start=1):
                        if raw.strip():
                            found += 1
                            yield _document(raw, path, number)
        except (lzma.LZMAError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InvalidInput(f"{path}: the compressed file is broken or cut short ({error})") from error
        if not found:
            raise InvalidInput(f"{path}: the file holds no text")


def iter_windows(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, length: int, max_tokens: int | None = None
) -> Iterator[TokenWindow]:
    """Windows of at most `length` tokens, each of one document, until `max_tokens` are reached.

    No special token is added but those that the tokenizer itself puts before a text (`<bos>`), at the head of each
    window, because a model that wants one wants it there. Tails shorter than `SHORTEST_WINDOW` are dropped. Of texts
    of one name the second is named `name~2`: what is drawn for a window goes by its name.

    However much text there is, `TOKENIZED_CHARACTERS` of it are held at once, or one document where that is longer,
    and eight bytes a name.
    """
    prefix = np.asarray(_prefix(tokenizer), dtype=np.int32)
    body = length - len(prefix)
    total = 0
    names = _Names()
    for document, ids in _tokenized(documents, tokenizer):
        name = names.free(document.id)
        for number, start in enumerate(range(0, len(ids), body)):
            piece = np.concatenate([prefix, ids[start : start + body]])
            if max_tokens is not None:
                piece = piece[: max_tokens - total]
            if len(piece) < SHORTEST_WINDOW:
                continue
            yield TokenWindow(f"{name}#{number}", piece)
            total += len(piece)
        if max_tokens is not None and total > max_tokens - SHORTEST_WINDOW:
            break


def cut_windows(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, length: int, max_tokens: int | None = None
) -> list[TokenWindow]:
    """The windows of `iter_windows`, all at once.

    Raises:
        InvalidInput: the text gives no window at all.
    """
    windows = list(iter_windows(documents, tokenizer, length, max_tokens))
    if not windows:
        raise InvalidInput(NO_WINDOW)
    return windows


def _tokenized(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[Document, NDArray[np.int32]]]:
    """Documents with their tokens, (n,); tokenized many at once, which a fast tokenizer does in all its threads."""
    for some in _batches(documents):
        found = tokenizer(
            [document.text for document in some],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        for document, ids in zip(some, found, strict=True):
            yield document, np.asarray(ids, dtype=np.int32)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    some: list[Document] = []
    characters = 0
    for document in documents:
        some.append(document)
        characters += len(document.text)
        if characters >= TOKENIZED_CHARACTERS:
            yield some
            some, characters = [], 0
    if some:
        yield some


class _Names:
    """Names that are taken, as 64-bit hashes: two names of one hash cost the second a `~2`, nothing else."""

    _RECENT = 1 << 18

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._older = np.zeros(0, dtype=np.uint64)  # rising
        self._uses: dict[int, int] = {}  # of names wanted more than once

    def free(self, wanted: str) -> str:
        """Take a name that is not taken yet: the wanted one, or with the lowest free `~2`, `~3`, …"""
        if self._take(wanted):
            return wanted
        key = _name_hash(wanted)
        for i in count(self._uses.get(key, 2)):
            if self._take(f"{wanted}~{i}"):
                self._uses[key] = i + 1
                return f"{wanted}~{i}"
        raise AssertionError  # count has no end

    def _take(self, name: str) -> bool:
        key = _name_hash(name)
        place = int(np.searchsorted(self._older, np.uint64(key)))
        if key in self._recent or (place < len(self._older) and int(self._older[place]) == key):
            return False
        self._recent.add(key)
        if len(self._recent) >= self._RECENT:
            self._older = np.sort(np.concatenate([self._older, np.fromiter(self._recent, dtype=np.uint64)]))
            self._recent.clear()
        return True


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def overlapping(
    held_out: Sequence[TokenWindow], training: Sequence[TokenWindow], run: int = 32
) -> list[tuple[str, str]]:
    """Held-out windows that share text with training, each with one training window: (id, id).

    Two windows share text when one has, anywhere, the `run` tokens that the other has at a multiple of `run`; windows
    shorter than that are compared whole.
    """
    pieces: dict[bytes, int] = {}
    for place, window in enumerate(held_out):
        ids = window.ids.astype("<i4")
        for start in range(0, max(1, len(ids) - run + 1), run):
            pieces.setdefault(ids[start : start + run].tobytes(), place)
    lengths = sorted({len(piece) // 4 for piece in pieces})
    found: dict[int, str] = {}
    for window in training:
        ids = window.ids.astype("<i4")
        for length in lengths:
            if length == run:
                starts: Iterable[int] = range(len(ids) - run + 1)
            else:
                starts = [0] if len(ids) == length else []
            for start in starts:
                place_found = pieces.get(ids[start : start + length].tobytes())
                if place_found is not None:
                    found.setdefault(place_found, window.id)
    return [(held_out[place].id, name) for place, name in sorted(found.items())]


def text_hash(windows: Sequence[TokenWindow]) -> str:
    """sha256 over the windows' names and tokens."""
    digest = hashlib.sha256()
    for window in windows:
        digest.update(f"{window.id}\x00{len(window.ids)}\x00".encode("utf-8", "surrogatepass"))
        digest.update(window.ids.astype("<i4").tobytes())
    return digest.hexdigest()


def pad_windows(windows: Sequence[TokenWindow], device: torch.device) -> tuple[Tensor, Tensor]:
    """Windows padded on the right: ids (B, T) int64 and mask (B, T) int64, 1 where a token is real."""
    width = max(len(window.ids) for window in windows)
    ids = np.zeros((len(windows), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = window.ids
        mask[row, : len(window.ids)] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def _prefix(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before every text: nothing, or `<bos>`."""
    with_special: list[int] = tokenizer("a")["input_ids"]
    without: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    if with_special == without:
        return []
    return with_special[: len(with_special) - len(without)] if with_special[-len(without) :] == without else []
