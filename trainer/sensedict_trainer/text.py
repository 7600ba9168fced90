"""Text, from documents to windows of tokens; the dictionary's builder and the trainer read it the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensedict.errors import InvalidInput
from sensedict_trainer.chat import answer_tokens, render
from sensedict_trainer.text_files import Document
from sensedict_trainer.text_sources import read_documents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "Document",
    "TokenWindow",
    "check_held_out",
    "cut_windows",
    "iter_windows",
    "overlapping",
    "pad_windows",
    "read_documents",
    "text_hash",
]

SHORTEST_WINDOW = 8  # tokens; a shorter tail has too little left context to be worth a pass
TOKENIZED_CHARACTERS = 1 << 20  # of text tokenized at once: some 250,000 tokens, for which a tokenizer takes 50 MB
NO_WINDOW = f"the text has no window of at least {SHORTEST_WINDOW} tokens"


@dataclass(frozen=True)
class TokenWindow:
    """Consecutive tokens of one document.

    Attributes:
        id: document id and number of the window, e.g. `Art#3`: what draws are keyed by.
        ids: (T,) int32; the target of position i is `ids[i + 1]`, so the last position has none.
        answers: (T,) bool, which tokens are an assistant's; None for a text that is no chat.
    """

    id: str
    ids: NDArray[np.int32]
    answers: NDArray[np.bool_] | None = None


def iter_windows(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, length: int, max_tokens: int | None = None
) -> Iterator[TokenWindow]:
    """Windows of at most `length` tokens, each of one document, until `max_tokens` are reached.

    No special token is added but those that the tokenizer itself puts before a text (`<bos>`), at the head of each
    window, because a model that wants one wants it there. Tails shorter than `SHORTEST_WINDOW` are dropped. Of texts
    of one name the second is named `name~2`: what is drawn for a window goes by its name.

    A chat is a text as the tokenizer's template writes it, see `chat`.

    However much text there is, `TOKENIZED_CHARACTERS` of it are held at once, or one document where that is longer,
    and eight bytes a name.
    """
    prefix = np.asarray(prefix_of(tokenizer), dtype=np.int32)
    body = length - len(prefix)
    total = 0
    names = _Names()
    for document, ids, answers in _tokenized(documents, tokenizer):
        name = names.free(document.id)
        if len(prefix) and (ids[: len(prefix)] == prefix).all() and answers is not None:  # a template's own <bos>
            ids, answers = ids[len(prefix) :], answers[len(prefix) :]
        for number, start in enumerate(range(0, len(ids), body)):
            piece = np.concatenate([prefix, ids[start : start + body]])
            if max_tokens is not None:
                piece = piece[: max_tokens - total]
            if len(piece) < SHORTEST_WINDOW:
                continue
            learned = None
            if answers is not None:
                learned = np.concatenate([np.zeros(len(prefix), bool), answers[start : start + body]])[: len(piece)]
            yield TokenWindow(f"{name}#{number}", piece, learned)
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
) -> Iterator[tuple[Document, NDArray[np.int32], NDArray[np.bool_] | None]]:
    """Documents with their tokens (n,), and of a chat (n,) which are an answer's.

    Many are tokenized at once, which a fast tokenizer does in all its threads.
    """
    for some in _batches(documents):
        chats = [render(document, tokenizer) if document.messages else None for document in some]
        found = tokenizer(
            [document.text if chat is None else chat.text for document, chat in zip(some, chats, strict=True)],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=any(chat is not None for chat in chats),
            verbose=False,
        )
        for row, (document, chat) in enumerate(zip(some, chats, strict=True)):
            ids = np.asarray(found["input_ids"][row], dtype=np.int32)
            yield document, ids, None if chat is None else answer_tokens(chat, found["offset_mapping"][row])


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    some: list[Document] = []
    characters = 0
    for document in documents:
        some.append(document)
        characters += len(document.text) + sum(len(message["content"]) for message in document.messages)
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
    shorter than that are compared whole. The first `run` tokens of a chat do not tell: a template begins all its chats
    with the same words.
    """
    pieces: dict[bytes, int] = {}
    for place, window in enumerate(held_out):
        ids = window.ids.astype("<i4")
        first = run if window.answers is not None and len(ids) >= 2 * run else 0
        for start in range(first, max(1, len(ids) - run + 1), run):
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


def check_held_out(held_out: Sequence[TokenWindow], training: Sequence[TokenWindow]) -> None:
    """Let pass held-out text that shares none with the training text.

    Raises:
        InvalidInput: some of it is trained on.
    """
    found = overlapping(held_out, training)
    if found:
        window, trained = found[0]
        raise InvalidInput(
            f"the held-out text {window} is trained on, in {trained} ({len(found)} of {len(held_out)} "
            "held-out windows overlap): scores on it would flatter; give other text"
        )


def text_hash(windows: Sequence[TokenWindow]) -> str:
    """sha256 over the windows' names and tokens."""
    digest = hashlib.sha256()
    for window in windows:
        digest.update(f"{window.id}\x00{len(window.ids)}\x00".encode("utf-8", "surrogatepass"))
        digest.update(window.ids.astype("<i4").tobytes())
        if window.answers is not None:
            digest.update(b"answers" + window.answers.tobytes())
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


def prefix_of(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before every text: nothing, or `<bos>`."""
    with_special: list[int] = tokenizer("a")["input_ids"]
    without: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    if with_special == without:
        return []
    return with_special[: len(with_special) - len(without)] if with_special[-len(without) :] == without else []
