"""Principal components against an independent reference, and the same vectors to the same places."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from sensedict_server.plane import principal_plane


@given(st.integers(3, 40), st.integers(2, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_places_are_the_first_two_principal_components(n: int, dim: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float16)
    places, shares = principal_plane(vectors, n)
    reference = PCA(2, svd_solver="full").fit(vectors.astype(np.float64))
    expected = reference.transform(vectors.astype(np.float64))
    expected /= expected[:, 0].std()
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_, atol=1e-5)
    assert (places.max(axis=0) >= -places.min(axis=0) - 1e-6).all()  # the largest coordinate is positive
    np.testing.assert_array_equal(principal_plane(vectors, n)[0], places)
    more = np.concatenate([vectors, vectors[:1] + np.float16(3)])
    np.testing.assert_allclose(principal_plane(more, n)[0][:n], places, atol=1e-5)  # whatever else is shown
    projected = reference.transform(more[-1:].astype(np.float64)) / reference.transform(vectors)[:, 0].std()
    np.testing.assert_allclose(np.abs(principal_plane(more, n)[0][-1:]), np.abs(projected), atol=1e-4)


def test_few_and_equal_vectors_have_places_too() -> None:
    assert principal_plane(np.ones((1, 4)), 1)[0].tolist() == [[0, 0]]
    assert principal_plane(np.ones((3, 4)), 3)[1] == (0.0, 0.0)
    places, shares = principal_plane(np.array([[0.0], [2.0]]), 2)
    assert sorted(places.tolist()) == [[-1, 0], [1, 0]]
    assert shares == (1.0, 0.0)
