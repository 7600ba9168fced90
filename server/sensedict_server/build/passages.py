"""Example passages: the text round a token, and where the token stands in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sensedict_trainer.harvest import KeyPolicy

BEFORE, AFTER = 16, 10  # tokens: enough to tell a sense, too few to be a copy of the text
LONGEST = 300  # characters; a token may be a hundred blanks

Passage = tuple[str, int, int]


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
