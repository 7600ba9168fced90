"""Example passages: the text round a token, and where the token stands in it."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sensedict_trainer.harvest import KeyPolicy

BEFORE, AFTER = 16, 10  # tokens: enough to tell a sense, too few to be a copy of the text
LONGEST = 300  # characters; a token may be a hundred blanks

Passage = tuple[str, int, int]


class PassageFile(Sequence[list[Passage]]):
    """Passages of each sense, in a file without a name: its room is free again when this is gone, or the process.

    Args:
        senses: how many there are; most: passages of each.
        folder: on whose disk the file is.
    """

    def __init__(self, senses: int, most: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this is there
        weakref.finalize(self, self._file.close)
        # Where a text begins in the file, its bytes, and start and end of the token in it.
        self._begins = np.full((senses, most), -1, dtype=np.int64)
        self._places = np.zeros((senses, most, 3), dtype=np.int32)
        self._written = 0

    def add(self, at: Iterable[tuple[int, int]], found: Iterable[Passage | None]) -> None:
        """Keep passages, those that are there, at their (sense, ordinal).

        Raises:
            ConfigurationError: the disk is full.
        """
        texts = []
        for place, passage in zip(at, found, strict=True):
            if passage is not None:
                text, start, end = passage
                texts.append(text.encode("utf-8", "surrogatepass"))
                self._begins[place], self._places[place] = self._written, (len(texts[-1]), start, end)
                self._written += len(texts[-1])
        try:
            self._file.write(b"".join(texts))
            self._file.flush()
        except OSError as error:
            raise ConfigurationError(f"passages cannot be written ({error.strerror}): make room") from error

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, sense: int) -> list[Passage]: ...
    @overload
    def __getitem__(self, sense: slice) -> list[list[Passage]]: ...
    def __getitem__(self, sense: int | slice) -> list[Passage] | list[list[Passage]]:
        if isinstance(sense, slice):
            return [self[row] for row in range(*sense.indices(len(self)))]
        found = []
        for begin, (size, start, end) in zip(self._begins[sense].tolist(), self._places[sense].tolist(), strict=True):
            if begin >= 0:
                text = os.pread(self._file.fileno(), size, begin).decode("utf-8", "surrogatepass")
                found.append((text, start, end))
        return found


def passages(
    tokenizer: PreTrainedTokenizerBase,
    windows: Sequence[NDArray[np.int32]],
    at: Iterable[tuple[int, int]],
    policy: KeyPolicy,
) -> list[Passage | None]:
    """The passage round each hidden state's token: the one it predicts, or with key `input` the one it reads.

    Args:
        windows: tokens of each.
        at: (window, position) of each hidden state.

    Returns:
        (text, start, end) with `text[start:end]` the token without blanks round it; None where it has no text of its
        own: it is blank, or part of a character.
    """
    found: list[Passage | None] = []
    rows, pieces = [], []
    for window, position in at:
        ids = windows[window]
        target = position + (policy != "input")
        if target < len(ids):
            rows.append(len(found))
            low = max(0, target - BEFORE)
            pieces += [ids[low:end].tolist() for end in (target, target + 1, target + 1 + AFTER)]
        found.append(None)
    texts = tokenizer.batch_decode(pieces, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    for n, row in enumerate(rows):
        found[row] = _passage(*texts[3 * n : 3 * n + 3])
    return found


def _passage(before: str, through: str, whole: str) -> Passage | None:
    if not through.startswith(before) or not whole.startswith(through) or len(whole) > LONGEST:
        return None
    start, end = len(before), len(through)
    start += len(through[start:]) - len(through[start:].lstrip())
    end -= len(through[start:]) - len(through[start:].rstrip())
    return (whole, start, end) if start < end else None
