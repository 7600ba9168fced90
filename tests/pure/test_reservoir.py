"""Which hidden states are kept: at most so many a key, by priority, each with the same chance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.reservoir import keep


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 8), st.integers(0, 3))
def test_of_each_key_those_of_lowest_priority(keys: list[int], cap: int, seed: int) -> None:
    priorities = mix(sequence_key(seed, "s", "reservoir"), np.arange(len(keys)))
    kept = keep(np.array(keys, dtype=np.int32), priorities, cap)
    for key in set(keys):
        uses = [i for i, k in enumerate(keys) if k == key]
        lowest = sorted(uses, key=lambda i: int(priorities[i]))[:cap]
        assert [i for i in uses if kept[i]] == sorted(lowest)


def test_a_choice_part_by_part_is_the_choice_at_once() -> None:
    keys = np.random.default_rng(0).integers(0, 20, 5000)
    priorities = mix(sequence_key(0, "s", "reservoir"), np.arange(5000))
    whole = np.flatnonzero(keep(keys, priorities, 30))
    first = np.flatnonzero(keep(keys[:2000], priorities[:2000], 30))
    pool = np.concatenate([first, np.arange(2000, 5000)])
    assert pool[keep(keys[pool], priorities[pool], 30)].tolist() == whole.tolist()


def test_every_use_has_the_same_chance() -> None:
    """Over 2,000 seeds each of 40 uses is kept a quarter of the time: 500 ± 19."""
    keys = np.zeros(40, dtype=np.int64)
    times = sum(keep(keys, mix(sequence_key(s, "w", "reservoir"), np.arange(40)), 10).astype(int) for s in range(2000))
    assert times.sum() == 20_000
    assert abs(times - 500).max() < 90
