"""Which positions and neighbours are drawn, and which senses are nearest: small cases by hand, and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensedict_trainer.distil.draws import Sampling, TokenCandidates, draw, draw_positions, expand
from sensedict_trainer.distil.selection import select
from sensedict_trainer.hashing import mix, sequence_key

NONE = (np.zeros(0, np.uint32), np.zeros(0, np.uint16))


def ranges(*pairs: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([a for a, _ in pairs], np.uint32), np.array([b for _, b in pairs], np.uint16)


CANDIDATES = {
    1: TokenCandidates((0, 3), ranges((10, 2), (20, 1)), ranges((30, 2))),
    2: TokenCandidates((3, 2), NONE, NONE),  # senses, no relations
    3: TokenCandidates((0, 0), NONE, NONE),  # nothing
    4: TokenCandidates((5, 1), NONE, ranges((40, 1), (50, 2), (60, 1))),
}


@pytest.mark.parametrize(
    ("related", "fraction", "minimum", "expected"),
    [(100, 0.4, 25, 40), (30, 0.4, 25, 25), (10, 0.4, 25, 10), (0, 0.4, 25, 0), (100, 0.0, 0, 0)],
)
def test_forty_percent_at_least_twenty_five_or_all(related: int, fraction: float, minimum: int, expected: int) -> None:
    own = np.ones(200, dtype=np.int64)
    mask = np.arange(200) < related
    with_relations, alone = draw_positions("s", own, mask, Sampling(fraction, minimum, 25, 0))
    assert len(with_relations) == len(alone) == expected
    assert mask[with_relations].all()
    assert len(set(alone.tolist())) == expected


def test_a_position_without_senses_is_never_drawn() -> None:
    own = np.array([0, 2, 0, 1, 0])
    with_relations, alone = draw_positions("s", own, np.array([0, 1, 0, 1, 0], dtype=bool), Sampling(1.0, 25, 25, 0))
    assert with_relations.tolist() == alone.tolist() == [1, 3]


def test_candidates_are_own_synonyms_and_antonyms() -> None:
    found = draw("s", np.array([3, 1, 2]), CANDIDATES, Sampling(1.0, 1, 25, 0))
    assert found.related == 1
    assert found.positions[0] == 1
    assert found.ids[found.positive[0] : found.negative[0]].tolist() == [0, 1, 2, 10, 11, 20]
    assert found.ids[found.negative[0] : found.positive[1]].tolist() == [30, 31]
    (alone,) = found.positions[1:]  # the other draw: own senses alone, and no negatives
    own = [0, 1, 2] if alone == 1 else [3, 4]
    assert found.ids[found.positive[1] : found.negative[1]].tolist() == own
    assert found.negative[1] == found.positive[2]


def test_neighbours_are_cut_by_seed() -> None:
    chosen = {tuple(draw("s", np.array([4]), CANDIDATES, Sampling(1.0, 1, 2, seed)).ids.tolist()) for seed in range(40)}
    ends = {(40, 50, 51), (40, 60), (50, 51, 60)}
    assert {ids[1 : 1 + len(ids) - 2] for ids in chosen} == ends  # own sense before, own sense of the other draw after


def test_a_draw_depends_on_the_sequence_alone() -> None:
    targets = np.array([1, 2, 4, 1, 3, 4] * 20)
    one = draw("a", targets, CANDIDATES, Sampling(0.4, 3, 1, 7))
    again = draw("a", targets, CANDIDATES, Sampling(0.4, 3, 1, 7))
    other = draw("b", targets, CANDIDATES, Sampling(0.4, 3, 1, 7))
    assert one.positions.tolist() == again.positions.tolist()
    assert one.ids.tolist() == again.ids.tolist()
    assert one.positions.tolist() != other.positions.tolist()


def test_nothing_to_draw() -> None:
    found = draw("s", np.array([3, 3]), CANDIDATES, Sampling(0.4, 25, 25, 0))
    assert len(found.positions) == len(found.ids) == len(found.negative) == 0
    selection = select(found, torch.zeros(3, 4), torch.zeros(5, 4), np.zeros(0, np.int64), 5)
    assert selection.positives.shape == (0, 5)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 20)), max_size=30))
def test_expand_is_the_ranges_one_after_another(pairs: list[tuple[int, int]]) -> None:
    first, count = ranges(*pairs) if pairs else NONE
    assert expand(first, count).tolist() == [i for a, n in pairs for i in range(a, a + n)]


def test_numbers_are_uniform_and_independent_of_order() -> None:
    key = sequence_key(0, "Art#3", "relations")
    values = mix(key, np.arange(40_000)).astype(np.float64) / 2**64
    assert abs(values.mean() - 0.5) < 0.01
    assert np.histogram(values, 20)[0].std() < 100  # 2,000 ± 44 expected
    assert mix(key, np.array([5, 3])).tolist() == mix(key, np.array([3, 5]))[::-1].tolist()
    assert sequence_key(0, "a", "x") != sequence_key(0, "a", "y") != sequence_key(1, "a", "y")


def test_selection_is_the_p_nearest() -> None:
    torch.manual_seed(0)
    sampling = Sampling(1.0, 25, 2, 1)
    targets = np.array([1, 2, 4, 1, 3, 4] * 5)
    drawn = draw("s", targets, CANDIDATES, sampling)
    hidden = torch.randn(len(targets) + 1, 16)
    vectors = torch.randn(70, 16)
    shuffled = np.random.default_rng(0).permutation(70)  # where the cache put them
    table = torch.empty_like(vectors).half()
    table[shuffled] = vectors.half()
    chosen = select(drawn, hidden, table, shuffled[drawn.ids], p=3)
    assert chosen.positions.tolist() == drawn.positions.tolist()
    for s, position in enumerate(drawn.positions.tolist()):
        for part, got in (
            (slice(drawn.positive[s], drawn.negative[s]), chosen.positives[s]),
            (slice(drawn.negative[s], drawn.positive[s + 1]), chosen.negatives[s]),
        ):
            ids = drawn.ids[part]
            distances = [float((hidden[position] - vectors[i].half().float()).square().sum()) for i in ids]
            expected = ids[np.argsort(distances, kind="stable")][:3].tolist()
            assert got.tolist() == expected + [-1] * (3 - len(expected))
