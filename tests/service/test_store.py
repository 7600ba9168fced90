"""Stores of shards: a folder, memory, a place that does not answer, a full disk, damaged files."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from numpy.typing import NDArray

from sensedict.errors import ConfigurationError, Corrupt, InvalidInput, Unavailable
from sensedict_server.build.store import ATTEMPTS, Rows, Store
from small_disk import small_disk

TENSORS = {
    "keys": np.arange(5, dtype=np.int32),
    "vectors": np.arange(20, dtype=np.float16).reshape(5, 4),
    "none": np.zeros((0, 3), dtype=np.float32),
}


class Flaky(MemoryFileSystem):
    """A place that says `error` to the next `failures` requests, and counts those for bytes of a file."""

    protocol = "flaky"
    cachable = False
    failures: ClassVar[int] = 0
    error: ClassVar[Exception]
    requests: ClassVar[int] = 0

    def _stumble(self) -> None:
        if Flaky.failures:
            Flaky.failures -= 1
            raise Flaky.error

    def _open(self, *args: Any, **options: Any) -> Any:
        self._stumble()
        return super()._open(*args, **options)

    def cat_file(self, *args: Any, **options: Any) -> bytes:
        """See `MemoryFileSystem`."""
        Flaky.requests += 1
        self._stumble()
        return bytes(super().cat_file(*args, **options))


fsspec.register_implementation("flaky", Flaky, clobber=True)


class ConnectTimeoutError(Exception):
    """As botocore's, which is no OSError."""


def rows(store: Store, file: str, tensor: str, start: int, stop: int) -> NDArray[Any]:
    (found,) = store.rows([Rows(file, tensor, start, stop)])
    if isinstance(found, Corrupt):
        raise found
    return found


@pytest.fixture(params=["folder", "file", "memory", "flaky"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    urls = {
        "folder": str(tmp_path / "sto re"),
        "file": f"file://{tmp_path}/store",
        "memory": "memory://store",
        "flaky": "flaky://store",
    }
    Flaky.failures = 0
    store = Store(urls[request.param])
    yield store
    store.remove_all()


def test_what_is_written_is_read(store: Store) -> None:
    first, second = store.write("harvest/0/000001", TENSORS), store.write("harvest/0/000001", TENSORS)
    assert first.file != second.file
    assert first.file.startswith("harvest/0/000001.")
    assert (first.bytes, first.sha256) == (second.bytes, second.sha256)
    found = store.read(first.file, first.sha256)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in TENSORS.items()}
    assert found["vectors"].dtype == np.float16
    assert rows(store, first.file, "vectors", 1, 3).tolist() == TENSORS["vectors"][1:3].tolist()
    assert rows(store, first.file, "keys", 5, 5).tolist() == []
    assert rows(store, first.file, "none", 0, 0).shape == (0, 3)
    store.remove(first.file)
    store.remove(first.file)
    assert not store.exists(first.file)
    assert store.exists(second.file)
    store.remove_all()
    assert not store.exists(second.file)


def test_hash_and_length_are_those_of_the_file(tmp_path: Path) -> None:
    stored = Store(str(tmp_path)).write("part", TENSORS)
    content = (tmp_path / stored.file).read_bytes()
    assert (stored.bytes, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [path.name for path in tmp_path.iterdir()] == [stored.file]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    other = [tmp_path / "model.safetensors", tmp_path / "notes.txt"]
    for path in other:
        path.write_text("mine")
    store = Store(str(tmp_path))
    store.write("plan", TENSORS)
    (tmp_path / "plan.0123abcd.safetensors.tmp").write_text("of a killed process")
    store.remove_all()
    assert sorted(tmp_path.iterdir()) == other


def test_rows_of_a_file_with_a_long_header(store: Store) -> None:
    many = {f"{'name' * 20}{i}": np.full(3, i) for i in range(100)}
    file = store.write("many", many).file
    assert rows(store, file, f"{'name' * 20}77", 1, 2).tolist() == [77]


@pytest.mark.parametrize("damage", ["gone", "cut short", "flipped", "empty"])
def test_damage_is_noticed(tmp_path: Path, damage: str) -> None:
    store = Store(str(tmp_path))
    stored = store.write("part", TENSORS)
    path = tmp_path / stored.file
    content = path.read_bytes()
    flipped = bytes([content[10] ^ 1])
    path.unlink()
    if damage != "gone":
        path.write_bytes(
            {"cut short": content[:-8], "flipped": content[:10] + flipped + content[11:], "empty": b""}[damage]
        )
    with pytest.raises(Corrupt, match=rf"{tmp_path}/part\..*safetensors is (gone|damaged|cut short)"):
        store.read(stored.file, stored.sha256)
    if damage != "flipped":  # whoever reads a part has a checksum of it
        with pytest.raises(Corrupt, match=rf"{tmp_path}/part\..*safetensors"):
            rows(store, stored.file, "vectors", 0, 5)


def test_rows_that_are_not_there(store: Store) -> None:
    file = store.write("part", TENSORS).file
    for tensor, start, stop in (("keys", 0, 6), ("vectors", 3, 2), ("other", 0, 1)):
        with pytest.raises(Corrupt, match=f"has no rows {start} to {stop} of '{tensor}'"):
            rows(store, file, tensor, start, stop)


# s3fs makes EBUSY of SlowDown and 503, EREMOTEIO of 500, and lets through what its network library says.
@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("no answer in 30 s"),
        OSError(errno.EBUSY, "SlowDown"),
        OSError(errno.EREMOTEIO, "Internal Server Error"),
        ConnectTimeoutError("connect timeout"),
    ],
)
def test_a_place_that_answers_after_a_while(error: Exception) -> None:
    store, Flaky.error = Store("flaky://store"), error
    Flaky.failures = ATTEMPTS - 1
    file = store.write("part", TENSORS).file
    Flaky.failures = 2
    assert rows(store, file, "keys", 2, 3).tolist() == [2]
    Flaky.failures = ATTEMPTS
    with pytest.raises(Unavailable, match=rf"flaky://store/part could not be read in 5 tries: .*{error.args[-1]}"):
        store.read("part", None)
    store.remove_all()


def test_many_rows_are_asked_for_at_once_and_headers_once_in_a_process() -> None:
    """What is wrong with one file does not keep the others from being read."""
    store = Store("flaky://store")
    files = [store.write(f"part{i}", TENSORS).file for i in range(3)]
    store.remove(files[1])
    wanted = [Rows(file, tensor, 1, 3) for file in files for tensor in ("keys", "vectors")]
    found = store.rows(wanted)
    assert [isinstance(part, Corrupt) for part in found] == [False, False, True, True, False, False]
    for part, rows_found in zip(wanted, found, strict=True):
        assert isinstance(rows_found, Corrupt) or rows_found.tolist() == TENSORS[part.tensor][1:3].tolist()
    Flaky.requests = 0
    assert all(not isinstance(part, Corrupt) for part in Store("flaky://store").rows(wanted[:2] + wanted[4:]))
    assert Flaky.requests == 4
    store.remove_all()


def test_a_place_that_does_not_answer_is_named() -> None:
    store, Flaky.error = Store("flaky://store"), TimeoutError("no answer in 30 s")
    Flaky.failures = ATTEMPTS
    with pytest.raises(Unavailable, match=r"flaky://store/part\..* could not be written in 5 tries: no answer in 30 s"):
        store.write("part", TENSORS)
    assert Flaky.failures == 0
    Flaky.failures = ATTEMPTS
    with pytest.raises(Unavailable, match="flaky://store/part could not be read"):
        store.read("part", None)


def test_a_full_disk_is_named_and_nothing_half_written_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k") as place:
        store = Store(str(place))
        with pytest.raises(
            ConfigurationError, match=rf"{place}/part\..*cannot be written: No space left on device; make"
        ):
            store.write("part", {"large": np.zeros(100_000, dtype=np.uint8)})
        assert not list(place.iterdir())
        store.write("part", TENSORS)


@pytest.mark.parametrize("url", ["nosuch://place", "s3://bucket/place", "github://a/b", "zip://"])
def test_a_kind_of_place_that_cannot_be_had(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the store {url} cannot be opened: "):
        Store(url)


def test_a_dtype_without_a_place_in_the_format(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'texts'"):
        Store(str(tmp_path)).write("part", {"texts": np.array(["a"])})
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"cannot be written: .*; name another --work or mend it"):
        Store(str(tmp_path / "store")).write("part", TENSORS)
