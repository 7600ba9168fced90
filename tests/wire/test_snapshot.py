"""Snapshot against a file set written by hand, loops in plain Python, and damaged files."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from file_set_factory import DIM, TOKENS, VOCABULARY, with_entry, write_file_set, write_manifest
from sensedict import arrays
from sensedict.errors import ConfigurationError, Corrupt, InvalidInput, NotFinite, SenseNotFound, WrongDimension
from sensedict.fileset import INDEX, MANIFEST, VECTORS, Manifest, hash_file
from sensedict.nearest import nearest, nearest_of_owners
from sensedict.snapshot import Snapshot
from sensedict.source import Ranges, SenseSource


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file_set(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def snapshot(folder: Path) -> Snapshot:
    return Snapshot.open(folder, verify=True)


def rows(ranges: Ranges) -> list[list[tuple[int, int]]]:
    return [list(zip(*(part.tolist() for part in ranges.row(i)), strict=True)) for i in range(len(ranges.offsets) - 1)]


def test_identity_is_the_manifests(snapshot: Snapshot) -> None:
    source: SenseSource = snapshot
    assert (source.identity.name, source.identity.senses, source.identity.dim) == ("tiny", 20, DIM)


def test_all_vectors_are_mapped_and_stay_when_it_is_closed(snapshot: Snapshot, folder: Path) -> None:
    with Snapshot.open(folder) as opened:
        vectors = opened.vectors
    assert not vectors.flags.writeable
    assert (vectors == snapshot.get_senses(np.arange(20))).all()


def test_candidate_sets_in_the_order_asked_for(snapshot: Snapshot) -> None:
    # senses: token 3 → 0..3, 5 → 4, 9 → 5..7, 17 → 8..12, 39 → 13..14, w0 → 15..16, w1 → 17..19
    sets = snapshot.candidate_sets(np.array([39, 3, 0, 3, 10]))
    assert sets.tokens.tolist() == [39, 3, 0, 3, 10]
    assert sets.own_count.tolist() == [2, 4, 0, 4, 0]
    assert sets.own_first.tolist()[:2] == [13, 0]
    assert rows(sets.synonyms) == [[(5, 3), (8, 5), (15, 2)], [(4, 1), (15, 2)], [], [(4, 1), (15, 2)], [(4, 1)]]
    assert rows(sets.antonyms) == [[(4, 1)], [(5, 3)], [], [(5, 3)], []]
    assert sets.errors == ()
    assert [sets.own_first.dtype, sets.own_count.dtype, sets.synonyms.offsets.dtype] == [
        np.uint32,
        np.uint16,
        np.uint32,
    ]


def test_a_token_outside_the_vocabulary_has_an_error_and_an_empty_row(snapshot: Snapshot) -> None:
    sets = snapshot.candidate_sets(np.array([3, VOCABULARY, 39, 2**32 - 1]))
    assert [(error.index, error.code) for error in sets.errors] == [(1, "token-not-found"), (3, "token-not-found")]
    assert "token 40 is not in tiny@1; ids run 0 .. 39" in sets.errors[0].detail
    assert sets.own_count.tolist() == [4, 0, 2, 0]
    assert rows(sets.synonyms) == [[(4, 1), (15, 2)], [], [(5, 3), (8, 5), (15, 2)], []]


@given(st.lists(st.integers(0, VOCABULARY + 3), min_size=1, max_size=60))
def test_many_tokens_are_each_as_alone(snapshot: Snapshot, tokens: list[int]) -> None:
    together = snapshot.candidate_sets(np.array(tokens))
    for i, token in enumerate(tokens):
        alone = snapshot.candidate_sets(np.array([token]))
        assert together.own_first[i] == alone.own_first[0]
        assert together.own_count[i] == alone.own_count[0] == TOKENS.get(token, (0,))[0]
        assert rows(together.synonyms)[i] == rows(alone.synonyms)[0]
        assert rows(together.antonyms)[i] == rows(alone.antonyms)[0]


def test_vectors_of_senses_in_order_with_repeats(snapshot: Snapshot, folder: Path) -> None:
    held = arrays.decode((folder / VECTORS).read_bytes())[0]["vectors"]
    found = snapshot.get_senses(np.array([19, 0, 19]))
    assert found.dtype == np.float16
    assert (found == held[[19, 0, 19]]).all()
    assert found.flags.writeable  # the caller's own: a tensor may be made of it


def loop_nearest(queries: np.ndarray, held: np.ndarray, ids: range, p: int) -> list[tuple[float, int]]:
    """Distances in plain Python: an independent reference."""
    pairs = [
        (sum((float(a) - float(b)) ** 2 for a, b in zip(queries, held[i], strict=True)) / len(queries), i) for i in ids
    ]
    return sorted(pairs)[:p]


@pytest.mark.parametrize("p", [1, 3, 20, 100])
def test_nearest_of_the_whole_dictionary_is_the_loops(snapshot: Snapshot, p: int) -> None:
    held = snapshot.get_senses(np.arange(20))
    queries = np.concatenate([np.random.default_rng(1).standard_normal((5, DIM)), held[:1]])
    found = snapshot.nearest_senses(queries, p)
    for i, query in enumerate(queries.astype(np.float32)):
        expected = loop_nearest(query, held, range(20), p)
        part = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
        assert found.ids[part].tolist() == [sense for _, sense in expected]
        np.testing.assert_allclose(found.distances[part], [distance for distance, _ in expected], rtol=1e-6)
    assert found.ids[found.offsets[5]] == 0  # three equal senses; the smallest id stands first
    assert found.distances[found.offsets[5]] == 0


def test_nearest_of_owners_keeps_to_them(snapshot: Snapshot) -> None:
    held = snapshot.get_senses(np.arange(20))
    tokens = np.array([39, 3, 0, 99, 3, 17])
    queries = np.random.default_rng(2).standard_normal((6, DIM)).astype(np.float32)
    found = snapshot.nearest_senses(queries, 3, tokens)
    owned = [range(13, 15), range(0, 4), range(0), range(0), range(0, 4), range(8, 13)]
    assert np.diff(found.offsets).tolist() == [2, 3, 0, 0, 3, 3]
    for i, ids in enumerate(owned):
        expected = [sense for _, sense in loop_nearest(queries[i], held, ids, 3)]
        assert found.ids[found.offsets[i] : found.offsets[i + 1]].tolist() == expected
    assert [(error.index, error.code) for error in found.errors] == [(3, "token-not-found")]


@pytest.mark.parametrize("size", [3, 500, 20_000])
def test_a_query_has_the_same_answer_in_any_batch(size: int) -> None:
    rng = np.random.default_rng(size)
    vectors = rng.standard_normal((size, 48)).astype(np.float16) + np.float16(4)  # a common part, as real states have
    vectors[rng.integers(size, size=size // 2)] = vectors[0]  # many ties
    queries = np.concatenate([rng.standard_normal((40, 48)) + 4, vectors[:3]]).astype(np.float32)
    ids, distances = nearest(queries, vectors, 5)
    squares = ((queries[:, None].astype(np.float64) - vectors[None, :2000]) ** 2).mean(axis=2)
    if size <= 2000:
        assert (ids == np.argsort(squares, axis=1, kind="stable")[:, :5]).all()
    for batch in (1, 7):
        parts = [nearest(queries[i : i + batch], vectors, 5) for i in range(0, len(queries), batch)]
        assert np.concatenate([part[0] for part in parts]).tobytes() == ids.tobytes()
        assert np.concatenate([part[1] for part in parts]).tobytes() == distances.tobytes()


def test_many_queries_fill_several_blocks() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 6)).astype(np.float16)
    queries = rng.standard_normal((700, 6)).astype(np.float32)
    first = rng.choice(np.array([0, 10, 25], np.uint32), 700)
    count = np.where(first == 25, 0, np.where(first == 0, 10, 2)).astype(np.uint16)
    offsets, ids, distances = nearest_of_owners(queries, vectors, first, count, 4)
    for i in range(700):
        owned = vectors[first[i] : first[i] + count[i]]
        squares = ((queries[i].astype(np.float64) - owned) ** 2).mean(axis=1)
        order = np.argsort(squares, kind="stable")[:4]
        part = slice(int(offsets[i]), int(offsets[i + 1]))
        assert ids[part].tolist() == (order + first[i]).tolist()
        np.testing.assert_allclose(distances[part], squares[order], rtol=1e-6)


NOT_IDS = [([], "at least one"), ([[1]], "shape"), ([1.0], "whole numbers"), ([True], "whole numbers")]


@pytest.mark.parametrize(("tokens", "message"), [*NOT_IDS, ([3, -1], "-1 at index 1"), ([2**32], "index 0")])
def test_tokens_that_are_none(snapshot: Snapshot, tokens: list[int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        snapshot.candidate_sets(np.array(tokens))


@pytest.mark.parametrize(("ids", "message"), NOT_IDS)
def test_sense_ids_that_are_none(snapshot: Snapshot, ids: list[int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        snapshot.get_senses(np.array(ids))


@pytest.mark.parametrize("ids", [[0, 20], [0, -1], [1, 2**40]])
def test_a_sense_out_of_range_is_not_found(snapshot: Snapshot, ids: list[int]) -> None:
    with pytest.raises(SenseNotFound, match=rf"sense {ids[1]} at index 1 is not in tiny@1; ids run 0 \.\. 19"):
        snapshot.get_senses(np.array(ids))


@pytest.mark.parametrize(
    ("vectors", "p", "tokens", "error", "message"),
    [
        (np.zeros((0, DIM)), 1, None, InvalidInput, "n ≥ 1"),
        (np.zeros(DIM), 1, None, InvalidInput, "shape"),
        (np.zeros((1, DIM), int), 1, None, InvalidInput, "floating"),
        (np.zeros((1, DIM + 1)), 1, None, WrongDimension, "width 9 .* tiny@1.* width is 8"),
        (np.array([[0.0] * DIM, [0.0] * 7 + [np.nan]]), 1, None, NotFinite, "index 1"),
        (np.array([[0.0] * 7 + [-np.inf]]), 1, None, NotFinite, "index 0"),
        (np.array([[0.0] * 7 + [1e300]]), 1, None, NotFinite, "index 0"),
        (np.zeros((1, DIM)), 0, None, InvalidInput, r"1 \.\. 100, got 0"),
        (np.zeros((1, DIM)), 101, None, InvalidInput, "got 101"),
        (np.zeros((2, DIM)), 1, np.array([3]), InvalidInput, "1 owner tokens were given for 2 vectors"),
    ],
)
def test_queries_that_are_none(
    snapshot: Snapshot, vectors: np.ndarray, p: int, tokens: np.ndarray | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        snapshot.nearest_senses(vectors, p, tokens)


def test_threads_get_what_one_gets(snapshot: Snapshot) -> None:
    queries = np.random.default_rng(3).standard_normal((64, DIM))
    tokens = np.random.default_rng(4).integers(0, VOCABULARY, 64)
    expected = snapshot.nearest_senses(queries, 3, tokens)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: snapshot.nearest_senses(queries, 3, tokens), range(32)):
            assert found.ids.tobytes() == expected.ids.tobytes()
            assert found.distances.tobytes() == expected.distances.tobytes()


def test_closed_says_so_and_answers_stay(folder: Path) -> None:
    with Snapshot.open(folder) as senses:
        sets = senses.candidate_sets(np.array([3]))
    assert sets.own_count.tolist() == [4]
    with pytest.raises(InvalidInput, match="closed"):
        senses.get_senses(np.array([0]))


# damage: what is done to a fresh file set, and what the error names


def test_no_file_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere is not a dictionary's file set: manifest\.json"):
        Snapshot.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m | {"format": 3}, "format 3, this version of sensedict reads 1 and 2"),
        (lambda m: m | {"identity": m["identity"] | {"dim": "8"}}, "dim = '8', expected int"),
        (lambda m: m | {"identity": m["identity"] | {"vocabulary_size": 0}}, "vocabulary_size = 0"),
        (lambda m: m | {"identity": {k: v for k, v in m["identity"].items() if k != "k"}}, "'k'"),
        (lambda m: m | {"identity": m["identity"] | {"dim": 4}}, r"vectors of shape \(20, 8\), expected \(20, 4\)"),
        (lambda m: m | {"identity": m["identity"] | {"vocabulary_size": 39}}, "40 tokens are indexed.* 39"),
        (lambda m: m | {"identity": m["identity"] | {"content_hash": "c" * 64}}, "content hash"),
        (lambda m: m | {"files": {"../x": {"bytes": 1, "sha256": "d"}, **m["files"]}}, r"'\.\./x'"),
        (lambda m: m | {"files": {VECTORS: m["files"][VECTORS]}}, "does not list index.safetensors"),
        (lambda m: m | {"files": {**m["files"], "x": {"bytes": 1, "sha256": "d"}}}, "x is in the manifest"),
        (lambda m: m | {"files": {**m["files"], VECTORS: {"bytes": 1}}}, "sha256"),
        (lambda m: [m], "not a manifest"),
        (lambda m: {}, "'format'"),
    ],
)
def test_a_manifest_that_does_not_fit(tmp_path: Path, change: object, message: str) -> None:
    folder = write_file_set(tmp_path)
    path = folder / MANIFEST
    path.write_text(json.dumps(change(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(Corrupt, match=message):
        Snapshot.open(folder, verify=True)


def test_a_manifest_cut_off(tmp_path: Path) -> None:
    folder = write_file_set(tmp_path)
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(Corrupt, match=r"manifest\.json: it is not a manifest"):
        Snapshot.open(folder)


@pytest.mark.parametrize("name", [VECTORS, INDEX, "words.parquet"])
def test_a_file_cut_off_or_gone_or_changed(tmp_path: Path, name: str) -> None:
    folder = write_file_set(tmp_path)
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(Corrupt, match=f"{name} has {len(whole) - 1} bytes"):
        Snapshot.open(folder)
    path.unlink()
    with pytest.raises(Corrupt, match=f"{name} is in the manifest"):
        Snapshot.open(folder)
    path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    senses = Snapshot.open(folder)  # quick: contents are not looked at
    with pytest.raises(Corrupt, match=f"{name} has the sha256"):
        senses.verify()


def test_a_file_that_is_no_safetensors(tmp_path: Path) -> None:
    folder = write_file_set(tmp_path)
    for name in (VECTORS, INDEX):
        (folder / name).write_bytes(b"not safetensors at all")
        manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
        write_manifest(folder, with_entry(manifest, name, hash_file(folder / name)))
    with pytest.raises(Corrupt, match=rf"{VECTORS}: not safetensors"):
        Snapshot.open(folder, verify=True)


def test_an_index_that_names_a_sense_too_many(tmp_path: Path) -> None:
    folder = write_file_set(tmp_path)
    tensors, _ = arrays.decode(bytearray((folder / INDEX).read_bytes()))
    tensors["synonyms_first"][-1] = 19
    (folder / INDEX).write_bytes(arrays.encode(tensors))
    with pytest.raises(Corrupt, match=r"index\.safetensors: the index names a sense beyond the dictionary's 20"):
        Snapshot.open(folder)
