"""Senses of a word of several tokens, out of its tokens' senses (DSKD §3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput

_CELLS = 1 << 17  # numbers held of one batch's tokens: 512 KiB in single precision, what a core's cache holds
_EPS = np.finfo(np.float32).eps


def compose(owners: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """The word's senses, one a sense of its first token, in that order.

    A1 = S(t1); for each further token, row r of Aj is the sense of tj nearest (L2) to the mean of the rows r so far;
    the word's senses are the means of A1 .. Am, row by row. Of equally near senses the first is taken.

    This is the definition; `compose_in_batches` gives the same numbers for many words.

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
        total += senses[_squares((total / done)[:, None, :] - senses[None, :, :]).argmin(axis=1)]
    return total / np.float32(len(parts))


def compose_in_batches(
    vectors: NDArray[np.floating], offsets: NDArray[np.int64], words: Sequence[tuple[int, ...]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """`compose` of many words, to the last bit, in batches of words of as many tokens; memory does not grow with them.

    >>> vectors, offsets = np.array([[0.0, 0.0], [4.0, 4.0], [4.0, 2.0], [0.0, 2.0]]), np.array([0, 2, 4])
    >>> [(places.tolist(), senses.tolist()) for places, senses in compose_in_batches(vectors, offsets, [(0, 1)])]
    [([0], [[0.0, 1.0], [4.0, 3.0]])]

    Args:
        vectors: (n, D) senses of tokens.
        offsets: (V + 1,); token t owns the rows `offsets[t] .. offsets[t + 1]`.
        words: the tokens of each word.

    Yields:
        Places in `words`, each once, and the senses of those words one after the other, (Σ k_1, D) float32.

    Raises:
        InvalidInput: a word without tokens, or a token without senses.
    """
    counts = np.diff(offsets)
    by_length: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        if not word or not all(counts[token] for token in word):
            raise InvalidInput(f"word {place} has no tokens, or one of its tokens {list(word)} has no senses")
        by_length.setdefault(len(word), []).append(place)
    widest = max(1, int(counts.max(initial=0)))
    for length, places in sorted(by_length.items()):
        size = max(1, _CELLS // (length * widest * vectors.shape[1]))
        for start in range(0, len(places), size):
            batch = np.array(places[start : start + size], dtype=np.int64)
            yield batch, _compose_batch(vectors, offsets, np.array([words[place] for place in batch]))


def _compose_batch(
    vectors: NDArray[np.floating], offsets: NDArray[np.int64], words: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Senses (Σ k_1, D) of words (B, m)."""
    counts = offsets[words + 1] - offsets[words]  # (B, m)
    total = _padded(vectors, offsets[words[:, 0]], counts[:, 0])  # (B, K_1, D)
    lengths = _squares(total)  # (B, K_1); no mean is longer than the longest of what it is the mean of
    for done in range(1, words.shape[1]):
        senses = _padded(vectors, offsets[words[:, done]], counts[:, done])  # (B, K_j, D)
        own_lengths = _squares(senses)
        nearest = _nearest(total if done == 1 else total / np.float32(done), lengths, senses, own_lengths)
        taken = np.arange(len(words))[:, None], nearest
        total += senses[taken]
        lengths = np.maximum(lengths, own_lengths[taken])
    total /= np.float32(words.shape[1])
    kept = np.arange(total.shape[1]) < counts[:, :1]
    return total.reshape(-1, total.shape[2]) if kept.all() else total[kept]


def _padded(vectors: NDArray[np.floating], first: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """The senses (B, K, D) of a token a word; its last sense again where it has fewer than K."""
    rows = first[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)  # (B, K)
    return vectors[rows].astype(np.float32)


def _nearest(
    means: NDArray[np.float32],
    lengths: NDArray[np.float32],
    senses: NDArray[np.float32],
    own_lengths: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Which sense (B, K_1) is nearest to each mean (B, K_1, D), of senses (B, K_j, D); of equally near ones the first.

    Distances come from products, which are quick but lose digits. Where they leave a doubt, because another sense is as
    near up to rounding, distances are taken as `compose` takes them. A sense that pads never wins: it stands after the
    one that it repeats.

    Args:
        lengths: (B, K_1) at least ‖mean‖².
        own_lengths: (B, K_j) ‖sense‖².
    """
    distances = means @ senses.transpose(0, 2, 1)  # (B, K_1, K_j)
    distances *= -2
    distances += own_lengths[:, None, :]  # less ‖mean‖²
    nearest: NDArray[np.int64] = distances.argmin(axis=2)
    rounding = 4 * means.shape[2] * _EPS * (lengths + own_lengths.max(axis=1, keepdims=True))  # of two sums of D
    doubtful = (distances <= (distances.min(axis=2) + rounding)[:, :, None]).sum(axis=2) > 1
    words, rows = np.nonzero(doubtful)
    step = max(1, _CELLS // senses[0].size)
    for at in range(0, len(words), step):
        word, row = words[at : at + step], rows[at : at + step]
        nearest[word, row] = _squares(means[word, row][:, None, :] - senses[word]).argmin(axis=1)
    return nearest


def _squares(gaps: NDArray[np.floating]) -> NDArray[np.floating]:
    """‖gap‖² along the last axis."""
    squares: NDArray[np.floating] = np.einsum("...d,...d->...", gaps, gaps)
    return squares
