"""The safetensors codec against the format's own library, and against bytes that mean harm."""

from __future__ import annotations

import json
import mmap
import tracemalloc
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sensedict import answer_tensors, arrays
from sensedict.errors import InvalidInput, MalformedBody
from sensedict.source import CandidateSets, ItemError, NearestSenses, Ranges

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"]
NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__")
TENSORS = st.dictionaries(
    NAMES,
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=5,
)
METADATA = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert left[name].shape == right[name].shape
        assert left[name].tobytes() == right[name].tobytes()


@given(TENSORS, METADATA)
def test_library_reads_what_we_write(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    same(safetensors.numpy.load(arrays.encode(tensors, metadata)), tensors)


@given(TENSORS.filter(bool), METADATA)  # the library writes broken JSON where there are no tensors
def test_we_read_what_library_writes(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    found, found_metadata = arrays.decode(safetensors.numpy.save(tensors, metadata))
    same(found, tensors)
    assert found_metadata == metadata


@given(TENSORS, METADATA)
def test_every_tensor_lies_aligned(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    found, _ = arrays.decode(bytearray(arrays.encode(tensors, metadata)))
    assert all(tensor.flags.aligned for tensor in found.values())


def test_strided_big_endian_and_scalar_arrays_keep_their_values() -> None:
    tensors = {
        "strided": np.arange(12, dtype=np.uint32).reshape(3, 4)[:, ::2],
        "big": np.array([1, 2, 3], dtype=">i4"),
        "scalar": np.array(2.5),
    }
    found = safetensors.numpy.load(arrays.encode(tensors))
    assert found["strided"].tolist() == [[0, 2], [4, 6], [8, 10]]
    assert found["big"].tolist() == [1, 2, 3]
    assert found["scalar"].shape == ()


def test_bytes_are_written_in_a_fixed_order() -> None:
    tensors = {"b": np.array([1], np.uint16), "z": np.array([2], np.uint32), "a": np.array([3], np.uint16)}
    header = (
        b'{"z":{"dtype":"U32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U16","shape":[1],"data_offsets":[4,6]},'
        b'"a":{"dtype":"U16","shape":[1],"data_offsets":[6,8]}}'
    )
    header += b" " * (-len(header) % 8)
    assert arrays.encode(tensors) == len(header).to_bytes(8, "little") + header + bytes([2, 0, 0, 0, 1, 0, 3, 0])


def test_decoding_copies_nothing(tmp_path: Path) -> None:
    data = bytearray(arrays.encode({"ids": np.arange(5, dtype=np.uint32), "v": np.ones((2, 3), np.float16)}))
    found, _ = arrays.decode(data)
    whole = np.frombuffer(data, np.uint8)
    assert np.shares_memory(found["ids"], whole)
    assert np.shares_memory(found["v"], whole)
    assert found["ids"].flags.writeable

    file = tmp_path / "x.safetensors"
    file.write_bytes(data)
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    found, _ = arrays.decode(mapped)
    assert np.shares_memory(found["ids"], np.frombuffer(mapped, np.uint8))
    assert not found["ids"].flags.writeable


@pytest.mark.parametrize("dtype", [bool, complex, object, "U4"])
def test_dtypes_outside_the_format_are_refused(dtype: object) -> None:
    with pytest.raises(InvalidInput, match="'x'"):
        arrays.encode({"x": np.zeros(2, dtype=dtype)})


def body(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: object = "U8", shape: object = (4,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


MALFORMED = {
    "empty": (b"", "0 bytes"),
    "short": (b"1234567", "7 bytes"),
    "header beyond the end": ((99).to_bytes(8, "little") + b"{}", "99 bytes"),
    "huge header": ((2**63).to_bytes(8, "little") + b"{}", "announced"),
    "over the limit": (
        (arrays.MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{" + b" " * arrays.MAX_HEADER_BYTES,
        "announced",
    ),
    "not UTF-8": (body(b"{\xff}"), "not JSON"),
    "not JSON": (body(b"{'a':1}"), "not JSON"),
    "deep": (body(b'{"a":' * 100_000), "not JSON"),
    "digits": (body(b'{"a":' + b"1" * 10_000 + b"}"), "not JSON"),
    "list": (body([]), "not a JSON object"),
    "leading blank": (body(b" {}"), "not a JSON object"),
    "twice": (body(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'), "twice"),
    "metadata": (body({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata list": (body({"__metadata__": []}), "__metadata__"),
    "entry": (body({"a": 7}), "exactly"),
    "missing field": (body({"a": {"dtype": "U8", "shape": [0]}}), "exactly"),
    "extra field": (body({"a": entry() | {"x": 1}}, bytes(4)), "exactly"),
    "dtype": (body({"a": entry("O")}, bytes(4)), "dtype 'O'"),
    "dtype list": (body({"a": entry(["U8"])}, bytes(4)), "dtype"),
    "negative": (body({"a": entry(shape=[-4])}, bytes(4)), "whole numbers"),
    "float": (body({"a": entry(shape=[4.0])}, bytes(4)), "whole numbers"),
    "boolean": (body({"a": entry(shape=[4, True])}, bytes(4)), "whole numbers"),
    "one offset": (body({"a": entry(offsets=[4])}, bytes(4)), "whole numbers"),
    "backwards": (body({"a": entry(offsets=[4, 0])}, bytes(4)), "does not fill"),
    "shape": (body({"a": entry("U16")}, bytes(4)), "does not fill"),
    "gap at the start": (body({"a": entry(offsets=[1, 5])}, bytes(5)), "begins at byte 1"),
    "gap": (body({"a": entry(), "b": entry(offsets=[5, 9])}, bytes(9)), "begins at byte 5"),
    "overlap": (body({"a": entry(), "b": entry(offsets=[2, 6])}, bytes(6)), "begins at byte 2"),
    "the same place": (body({"a": entry(), "b": entry()}, bytes(4)), "begins at byte 0"),
    "short data": (body({"a": entry()}, bytes(3)), "end at byte 4"),
    "long data": (body({"a": entry()}, bytes(5)), "end at byte 4"),
    "dimensions": (body({"a": entry(shape=[1] * 200 + [4])}, bytes(4)), "unusable shape"),
    "zero beside a huge one": (body({"a": entry(shape=[0, 2**62, 2**62], offsets=[0, 0])}), "unusable shape"),
}


@pytest.mark.parametrize(("data", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bytes_are_refused_and_say_why(data: bytes, message: str) -> None:
    with pytest.raises(MalformedBody, match=message):
        arrays.decode(data)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b'{"a":{"dtype":"U32","shape":[03],"data_offsets":[0,12]}}', 12),  # nearly what is written for one list
        (b'{"a":{"dtype":"U99","shape":[3],"data_offsets":[0,12]}}', 12),
        (b'{"a":{"dtype":"U32","shape":[3],"data_offsets":[0,12]}}', 16),
        (b'{"a":{"dtype":"U32","shape":[3],"data_offsets":[0,8]}}', 8),
        (b'{"a":{"dtype":"U32","shape":[3],"data_offsets":[0,12]}},', 12),
        (b'{"__metadata__":{"dtype":"U32","shape":[3],"data_offsets":[0,12]}}', 12),
    ],
)
def test_a_header_of_one_list_is_read_as_strictly(header: bytes, size: int) -> None:
    with pytest.raises(MalformedBody):
        arrays.decode(body(header, bytes(size)))
    right = body(b'{"a%":{"dtype":"U32","shape":[3],"data_offsets":[0,12]}}', bytes(12))
    one = body(b'{"a":{"dtype":"U32","shape":[3],"data_offsets":[0,12]}} ', bytes(12))
    (found,), (other,) = ((*arrays.decode(data)[0].values(),) for data in (right, one))
    assert (found.dtype, found.tolist()) == (other.dtype, other.tolist())
    assert arrays.decode(arrays.encode({"a%d": found}))[0].keys() == {"a%d"}


def only_malformed(data: bytes) -> None:
    """Whatever the bytes are: an answer, or MalformedBody, and nothing else."""
    try:
        tensors, metadata = arrays.decode(data)
    except MalformedBody:
        return
    for read in (answer_tensors.candidate_sets_from_tensors, answer_tensors.nearest_senses_from_tensors):
        try:
            read(tensors, metadata)
        except MalformedBody:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["U32", "U16"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["U8", "F16", "U32", "X"]), "shape": st.lists(st.integers(-1, 5), max_size=3)}
    | {"data_offsets": st.lists(st.integers(-1, 9), min_size=1, max_size=3)}
)


@given(st.dictionaries(st.sampled_from(["__metadata__", "tokens", "ids"]), JSON | ENTRIES), st.binary(max_size=12))
def test_malformed_headers_raise_nothing_else(header: object, data: bytes) -> None:
    only_malformed(body(header, data))


@given(st.binary(max_size=64))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    only_malformed(data)
    only_malformed(body(data))


def sets() -> CandidateSets:
    return CandidateSets(
        tokens=np.array([7, 9, 99], np.uint32),
        own_first=np.array([0, 4, 0], np.uint32),
        own_count=np.array([4, 1, 0], np.uint16),
        synonyms=Ranges(np.array([0, 2, 2, 2], np.uint32), np.array([5, 8], np.uint32), np.array([1, 2], np.uint16)),
        antonyms=Ranges(np.array([0, 0, 1, 1], np.uint32), np.array([0], np.uint32), np.array([4], np.uint16)),
        errors=(ItemError(2, "token-not-found", "token 99 · “x”"),),
    )


NEAREST = NearestSenses(
    offsets=np.array([0, 2, 2], np.uint32),
    ids=np.array([3, 1], np.uint32),
    distances=np.array([0.25, 1], np.float32),
    errors=(ItemError(1, "token-not-found", "token 99"),),
)


@settings(max_examples=300)
@given(st.data())
def test_a_flipped_byte_raises_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(arrays.encode(*answer_tensors.candidate_sets_to_tensors(sets())))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    only_malformed(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    only_malformed(bytes(whole))


def test_candidate_sets_come_back_as_they_were() -> None:
    data = arrays.encode(*answer_tensors.candidate_sets_to_tensors(sets()))
    found = answer_tensors.candidate_sets_from_tensors(*arrays.decode(data))
    assert found.errors == sets().errors
    assert found.tokens.tolist() == [7, 9, 99]
    assert found.own_first.tolist() == [0, 4, 0]
    assert found.own_count.tolist() == [4, 1, 0]
    assert [[part.tolist() for part in found.synonyms.row(i)] for i in range(3)] == [
        [[5, 8], [1, 2]],
        [[], []],
        [[], []],
    ]
    assert [[part.tolist() for part in found.antonyms.row(i)] for i in range(3)] == [[[], []], [[0], [4]], [[], []]]
    assert np.shares_memory(found.own_first, np.frombuffer(data, np.uint8))


def test_nearest_senses_come_back_as_they_were() -> None:
    found = answer_tensors.nearest_senses_from_tensors(
        *arrays.decode(arrays.encode(*answer_tensors.nearest_senses_to_tensors(NEAREST)))
    )
    assert found.errors == NEAREST.errors
    assert found.offsets.tolist() == [0, 2, 2]
    assert found.ids.tolist() == [3, 1]
    assert found.distances.tolist() == [0.25, 1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tokens", None, "'tokens' is missing"),
        ("tokens", np.zeros(3, np.int64), "'tokens' is int64"),
        ("tokens", np.zeros((3, 1), np.uint32), "2 dimensions"),
        ("own_count", np.zeros(2, np.uint16), "'own_count' holds 2 items, expected 3"),
        ("synonyms_offsets", np.array([0, 2, 2], np.uint32), "into 3 rows"),
        ("synonyms_offsets", np.array([0, 2, 1, 2], np.uint32), "into 3 rows"),
        ("synonyms_offsets", np.array([1, 2, 2, 2], np.uint32), "into 3 rows"),
        ("antonyms_offsets", np.array([0, 0, 1, 2], np.uint32), "cut 1 items"),
        ("synonyms_count", np.zeros(1, np.uint16), "expected 2"),
    ],
)
def test_candidate_sets_that_do_not_fit_are_refused(name: str, value: np.ndarray | None, message: str) -> None:
    tensors, metadata = answer_tensors.candidate_sets_to_tensors(sets())
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    with pytest.raises(MalformedBody, match=message):
        answer_tensors.candidate_sets_from_tensors(tensors, metadata)


@pytest.mark.parametrize(
    "errors",
    ["{", "7", '"a"', "[7]", "[{}]"]
    + [json.dumps([{"index": i, "code": c, "detail": "d"}]) for i, c in [(-1, "c"), (3, "c"), ("0", "c"), (0, None)]],
)
def test_item_errors_that_do_not_fit_are_refused(errors: str) -> None:
    tensors, _ = answer_tensors.candidate_sets_to_tensors(sets())
    with pytest.raises(MalformedBody, match="errors"):
        answer_tensors.candidate_sets_from_tensors(tensors, {"errors": errors})


@st.composite
def ragged(draw: st.DrawFn, rows: int) -> Ranges:
    counts = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    size = sum(counts)
    return Ranges(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32),
        draw(hnp.arrays(np.uint32, size)),
        draw(hnp.arrays(np.uint16, size)),
    )


@st.composite
def item_errors(draw: st.DrawFn, rows: int) -> tuple[ItemError, ...]:
    if rows == 0:
        return ()
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
    return tuple(draw(st.lists(st.builds(ItemError, st.integers(0, rows - 1), texts, texts), max_size=2)))


@given(st.data(), st.integers(0, 4))
def test_any_answer_comes_back_as_it_was(data: st.DataObject, rows: int) -> None:
    ids = hnp.arrays(np.uint32, rows)
    synonyms, antonyms = data.draw(ragged(rows)), data.draw(ragged(rows))
    own = data.draw(hnp.arrays(np.uint16, rows))
    errors = data.draw(item_errors(rows))
    asked = CandidateSets(data.draw(ids), data.draw(ids), own, synonyms, antonyms, errors)
    tensors, metadata = answer_tensors.candidate_sets_to_tensors(asked)
    found = answer_tensors.candidate_sets_from_tensors(*arrays.decode(arrays.encode(tensors, metadata)))
    assert found.errors == errors
    same(answer_tensors.candidate_sets_to_tensors(found)[0], tensors)


BOMBS = {
    "names": b"{" + b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(4_000)) + b"}",
    "one name": b'{"' + b"x" * 2**18 + b'":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":7}',
    "dimensions": b'{"a":{"dtype":"U8","shape":[' + b"1," * 2**16 + b'0],"data_offsets":[0,0]}}',
    "factors": b'{"a":{"dtype":"U8","shape":[' + b"9223372036854775807," * 2**15 + b'1],"data_offsets":[0,0]}}',
    "metadata": b'{"__metadata__":{' + b",".join(b'"%d":NaN' % i for i in range(10**4)) + b"}}",
    "lists": b'{"a":' + b"[" * 2**20,
    "duplicates": b'{"a":[' + b'{"b":1,"b":2},' * 10**4 + b"0]}",
}


@pytest.mark.parametrize("header", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_takes_little(header: bytes) -> None:
    """Names, numbers and lists without end, below the limit of a header: a multiple of its size in memory, no more."""
    tracemalloc.start()
    try:
        only_malformed(body(header))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 40 * len(header)
