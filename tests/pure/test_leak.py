"""The leak report: hashes of prefixes, and that it finds what a search over the vectors themselves finds."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harvested import real_uses
from sensedict_trainer.cluster import cluster_each
from sensedict_trainer.harvest import KeyPolicy
from sensedict_trainer.leak import Leaks, count_leaks, find_leaks, lone_states, prefix_hashes, state_hashes
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import Document, TokenWindow, cut_windows
from tiny_teacher import corpus, save_tiny_teacher

K = 3


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=2, max_size=8))
def test_hashes_are_equal_where_prefixes_are(texts: list[list[int]]) -> None:
    by_hash: dict[int, tuple[int, ...]] = {}
    by_prefix: dict[tuple[int, ...], int] = {}
    for text in texts:
        for i, value in enumerate(prefix_hashes(np.array(text, dtype=np.int32)).tolist()):
            prefix = tuple(text[: i + 1])
            assert by_hash.setdefault(value, prefix) == prefix
            assert by_prefix.setdefault(prefix, value) == value


def test_the_key_counts_too() -> None:
    prefixes = prefix_hashes(np.array([5, 7, 9]))
    assert len(set(state_hashes(prefixes[:1], np.array([1, 2])).tolist())) == 2
    assert len(set(state_hashes(prefixes, np.array([1, 1, 1])).tolist())) == 3


def test_nothing_to_find() -> None:
    none = np.zeros(0, dtype=np.uint64)
    assert lone_states(none, np.zeros(0, dtype=np.int64)).tolist() == []
    assert find_leaks(np.array([5, 7, 9]), none).tolist() == [False, False]
    found = count_leaks([], none, np.array([0, 3]))
    assert (found.positions.sum(), found.share) == (0, 0.0)
    assert found.describe() == ["own state among the senses of the target: 0 of 0 positions (0.0%)"]


def test_counts_by_how_often_the_corpus_has_the_target() -> None:
    windows = [
        TokenWindow("a", np.array([0, 1, 2, 1], dtype=np.int32)),
        TokenWindow("b", np.array([0, 3], dtype=np.int32)),
    ]
    ids = windows[0].ids
    lone = np.sort(state_hashes(prefix_hashes(ids[:-1]), ids[1:])[[0, 1]])
    found = count_leaks(windows, lone, np.array([0, 9, 10, 0]))
    assert found.positions.tolist() == [1, 2, 1]
    assert found.leaking.tolist() == [0, 1, 1]
    assert found.describe() == [
        "own state among the senses of the target: 2 of 4 positions (50.0%)",
        "  target in the corpus never: 0 of 1 (0.0%)",
        "  target in the corpus 1 to 9 times: 1 of 2 (50.0%)",
        "  target in the corpus 10 to 99 times: 1 of 1 (100.0%)",
    ]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return load_teacher(str(save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "t")))


def cut(teacher: Teacher, texts: list[str]) -> list[TokenWindow]:
    return cut_windows((Document(f"s{i}", text) for i, text in enumerate(texts)), teacher.tokenizer, 24)


@pytest.mark.parametrize("policy", get_args(KeyPolicy))
def test_against_a_search_over_the_vectors(teacher: Teacher, policy: KeyPolicy) -> None:
    """The dictionary's text and the training text share some documents, and the beginnings of others."""
    texts, likely = corpus(36), greedy(teacher)
    windows, training = [*cut(teacher, texts[:24]), likely], [*cut(teacher, texts[16:]), likely]
    senses, lone = senses_of(teacher, windows, policy)
    expected = [nearest_is_equal(teacher, window, senses) for window in training]
    found = [find_leaks(window.ids, lone) for window in training]
    assert [part.tolist() for part in found] == [part.tolist() for part in expected]
    total = sum(int(part.sum()) for part in expected)
    assert 0 < total < sum(map(len, expected))
    counted = count_leaks(training, lone, np.ones(teacher.vocabulary_size, dtype=np.int64))
    assert isinstance(counted, Leaks)
    assert int(counted.leaking.sum()) == total
    assert int(counted.positions.sum()) == sum(len(window.ids) - 1 for window in training)


@torch.inference_mode()
def greedy(teacher: Teacher) -> TokenWindow:
    """A text in which a rare token comes twice and others are the likeliest ones: each policy has a leak there."""
    ids = [300, 301, 301]
    while len(ids) < 8:
        ids.append(int(teacher.head(teacher.hidden_states(torch.tensor([ids]))[0, -1]).argmax()))
    return TokenWindow("greedy", np.array(ids, dtype=np.int32))


def senses_of(
    teacher: Teacher, windows: list[TokenWindow], policy: KeyPolicy
) -> tuple[dict[int, NDArray[np.float32]], NDArray[np.uint64]]:
    """Senses (k, D) by key, and the hashes of those that are one state."""
    got = real_uses(teacher, windows, policy)
    prefixes = [prefix_hashes(window.ids)[got.positions[got.windows == i]] for i, window in enumerate(windows)]
    hashes = state_hashes(np.concatenate(prefixes), got.keys)
    senses: dict[int, NDArray[np.float32]] = {}
    lone = []
    for key in np.unique(got.keys).tolist():
        here = np.flatnonzero(got.keys == key)
        (clustered,) = cluster_each([torch.from_numpy(got.vectors[here])], K, [key])
        senses[key] = clustered.centroids.to(torch.float16).float().numpy()
        lone.append(lone_states(hashes[here], clustered.labels.numpy()))
    return senses, np.unique(np.concatenate(lone))


@torch.inference_mode()
def nearest_is_equal(
    teacher: Teacher, window: TokenWindow, senses: dict[int, NDArray[np.float32]]
) -> NDArray[np.bool_]:
    """(T − 1,) whether a sense of the target is the position's own state, to float16."""
    states = teacher.hidden_states(torch.from_numpy(window.ids.astype(np.int64))[None])[0].numpy()
    found = []
    for state, target in zip(states[:-1], window.ids[1:].tolist(), strict=True):
        apart = np.abs(senses.get(target, np.full((1, teacher.dim), np.inf)) - state).max(axis=1).min()
        assert apart < 2e-3 or apart > 2e-2  # so that rounding decides nothing: states are of the order of 1
        found.append(apart < 2e-3)
    return np.array(found)
