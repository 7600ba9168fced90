"""Vectors on a plane: their first two principal components, the same for the same vectors every time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 6  # that are kept: rounding differs between processors far behind them


def principal_plane(vectors: NDArray[Any]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Places (n, 2) of vectors (n, D), n ≥ 1, and the shares of the spread that the two axes keep.

    An axis points to where its largest coordinate, by size, is positive; the unit is the standard deviation along the
    first axis, so the larger spread always lies along x.

    >>> places, shares = principal_plane(np.array([[0.0, 1.0], [0.0, -1.0], [2.0, 0.0], [-2.0, 0.0]]))
    >>> places.round(3).tolist(), [round(share, 3) for share in shares]
    ([[0.0, 0.707], [0.0, -0.707], [1.414, 0.0], [-1.414, 0.0]], [0.8, 0.2])
    """
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(vectors), 2))
    width = min(2, len(singular))
    places[:, :width] = left[:, :width] * singular[:width]
    signs = np.sign(np.take_along_axis(places, np.abs(places).argmax(axis=0)[None], axis=0))
    places *= np.where(signs == 0, 1.0, signs)
    total, unit = float(np.square(singular).sum()), float(places[:, 0].std())
    if total == 0 or unit == 0:  # one vector, or all alike
        return np.zeros((len(vectors), 2)), (0.0, 0.0)
    shares = [round(float(value) ** 2 / total, _DIGITS) for value in (*singular[:2], 0.0)]
    return np.round(places / unit, _DIGITS) + 0.0, (shares[0], shares[1])  # + 0.0: no -0.0
