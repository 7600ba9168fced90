"""Vectors on a plane: their first two principal components, the same for the same vectors every time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 6  # that are kept: rounding differs between processors far behind them


def principal_plane(vectors: NDArray[Any], fitted: int) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Places (n, 2) of vectors (n, D), and the shares of the spread of the first `fitted` that the two axes keep.

    The axes are the principal components of the first `fitted`, at least 1; the rest are projected on them, so that
    they change nobody's place. An axis points to where the largest coordinate, by size, is positive; the unit is the
    standard deviation along the first axis.

    >>> places, shares = principal_plane(np.array([[0.0, 1.0], [0.0, -1.0], [2.0, 0.0], [-2.0, 0.0], [2.0, 2.0]]), 4)
    >>> places.round(3).tolist(), [round(share, 3) for share in shares]
    ([[0.0, 0.707], [0.0, -0.707], [1.414, 0.0], [-1.414, 0.0], [1.414, 1.414]], [0.8, 0.2])
    """
    exact = vectors.astype(np.float64)
    centred = exact - exact[:fitted].mean(axis=0)
    _, singular, axes = np.linalg.svd(centred[:fitted], full_matrices=False)
    places = np.zeros((len(exact), 2))
    width = min(2, len(singular))
    places[:, :width] = centred @ axes[:width].T
    total, unit = float(np.square(singular).sum()), float(places[:fitted, 0].std())
    if total == 0 or unit == 0:  # one vector, or all alike: there is no direction to look along
        return np.zeros((len(exact), 2)), (0.0, 0.0)
    near = places[:fitted]
    signs = np.sign(np.take_along_axis(near, np.abs(near).argmax(axis=0)[None], axis=0))
    places *= np.where(signs == 0, 1.0, signs)
    shares = [round(float(value) ** 2 / total, _DIGITS) for value in (*singular[:2], 0.0)]
    return np.round(places / unit, _DIGITS) + 0.0, (shares[0], shares[1])  # + 0.0: no -0.0
