"""Example passages: the text round a token, and where the token stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sensedict_trainer.harvest import KeyPolicy
    from sensedict_trainer.text import TokenWindow

BEFORE, AFTER = 16, 10  # tokens: enough to tell a sense, too few to be a copy of the text
LONGEST = 300  # characters; a token may be a hundred blanks

Passage = tuple[str, int, int]


def passages(
    tokenizer: PreTrainedTokenizerBase,
    windows: Sequence[TokenWindow],
    at: Sequence[tuple[int, int] | None],
    policy: KeyPolicy,
) -> list[Passage | None]:
    """The passage round each hidden state's token: the one it predicts, or with key `input` the one it reads.

    Args:
        at: (window, position) of each hidden state; None gives None.

    Returns:
        (text, start, end) with `text[start:end]` the token without blanks round it; None where it has no text of its
        own: it is blank, or part of a character.
    """
    found: list[Passage | None] = [None] * len(at)
    rows, pieces = [], []
    for i, place in enumerate(at):
        if place is None:
            continue
        ids = windows[place[0]].ids
        target = place[1] + (policy != "input")
        if target < len(ids):
            rows.append(i)
            low = max(0, target - BEFORE)
            pieces.append(
                [ids[low:target].tolist(), ids[low : target + 1].tolist(), ids[low : target + 1 + AFTER].tolist()]
            )
    texts = tokenizer.batch_decode(
        [piece for three in pieces for piece in three], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    for n, i in enumerate(rows):
        found[i] = _passage(*texts[3 * n : 3 * n + 3])
    return found


def _passage(before: str, through: str, whole: str) -> Passage | None:
    if not through.startswith(before) or not whole.startswith(through) or len(whole) > LONGEST:
        return None
    start, end = len(before), len(through)
    start += len(through[start:]) - len(through[start:].lstrip())
    end -= len(through[start:]) - len(through[start:].rstrip())
    return (whole, start, end) if start < end else None
