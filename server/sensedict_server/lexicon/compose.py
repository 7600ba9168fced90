"""Senses of a word of several tokens, out of its tokens' senses (DSKD §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput


def compose(owners: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """The word's senses, one a sense of its first token, in that order.

    A1 = S(t1); for each further token, row r of Aj is the sense of tj nearest (L2) to the mean of the rows r so far;
    the word's senses are the means of A1 .. Am, row by row. Of equally near senses the first is taken.

    >>> compose([np.array([[0.0, 0.0], [4.0, 4.0]]), np.array([[4.0, 2.0], [0.0, 2.0]])]).tolist()
    [[0.0, 1.0], [4.0, 3.0]]

    Args:
        owners: (k_j, D) senses of each token, k_j ≥ 1.

    Returns:
        (k_1, D) float32.

    Raises:
        InvalidInput: no tokens, a token without senses, or different widths.
    """
    parts = [np.asarray(senses, dtype=np.float32) for senses in owners]
    if not parts:
        raise InvalidInput("a word without tokens has no senses to compose")
    if any(part.ndim != 2 or not len(part) or part.shape[1] != parts[0].shape[-1] for part in parts):
        raise InvalidInput(f"senses to compose must be (k ≥ 1, D) with one D, got {[part.shape for part in parts]}")
    total = parts[0].copy()  # (k_1, D)
    for done, senses in enumerate(parts[1:], start=1):
        gap = (total / done)[:, None, :] - senses[None, :, :]  # (k_1, k_j, D)
        total += senses[np.einsum("rjd,rjd->rj", gap, gap).argmin(axis=1)]
    return total / np.float32(len(parts))
