"""Work in several processes: the same results as in one, whatever becomes of the processes."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import process_work
from sensedict_server.build.clusters import cut, senses_of
from sensedict_trainer.processes import Processes, one_thread, shared

# Prints the numbers of its two processes and where their files are, and waits for them with more work to come.
PARENT = """
import sys
import numpy as np
import process_work as t
from sensedict_trainer.processes import Processes
if __name__ == "__main__":
    with Processes(2, t.__name__, print) as pool:
        delays = (0.3, 0.3, *[float(sys.argv[1])] * 3)
        found = pool.each(t.asleep, [(np.zeros((3, 2), np.float16), delay) for delay in delays])
        print(next(found), next(found), pool._folder, flush=True)
        list(found)
"""


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_senses_are_the_same_to_the_bit_in_any_number_of_processes() -> None:
    random = np.random.default_rng(0)
    sizes = [600, 3, 1, 40, 45, 900, 12, 300, 2000, 31, 1500, 33]
    vectors = random.normal(size=(sum(sizes), 300)).astype(np.float16)
    bounds = np.cumsum([0, *sizes])
    numbers = np.array([10, 10, 3, 3, 10, 10, 3, 10, 10, 10, 10, 10])
    parts = cut(bounds, numbers, range(len(sizes)), 2)
    handed = shared(*vectors.shape)
    handed[:] = vectors
    tasks, same = (
        [(x[bounds[first] : bounds[first + len(part.numbers)]], part) for first, part in parts]
        for x in (vectors, handed)
    )
    assert len(tasks) == 2
    assert [first for first, _ in parts] + [len(sizes)] == np.cumsum([0, *(len(p.numbers) for _, p in parts)]).tolist()
    with one_thread():
        alone = [senses_of(*task) for task in tasks]
    said: list[str] = []
    for count in (1, 2, 3):
        with Processes(count, senses_of.__module__, said.append) as pool:
            found = list(pool.each(senses_of, tasks)) + list(pool.each(senses_of, same))
        for one, other in zip(alone * 2, found, strict=True):
            for name, values in vars(one).items():
                assert values.tobytes() == getattr(other, name).tobytes(), name
    assert said == []


@pytest.mark.skipif(sys.platform != "linux", reason="copied there")
def test_shared_vectors_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = Path("/proc/self/fd")
    with Processes(2, process_work.__name__, pytest.fail) as pool:  # the server that is forked stays
        assert list(pool.each(process_work.killed, [(np.ones((1, 1), dtype=np.float16), False)])) == [1]
    before = len(list(descriptors.iterdir()))
    x = shared(4, 3)
    x[:] = np.arange(12).reshape(4, 3)
    with Processes(2, process_work.__name__, pytest.fail) as pool:
        monkeypatch.setattr(tempfile, "NamedTemporaryFile", None)
        whole = [(x, False), (x[1:], False), (x[3:], False), (x[2:2], False)]
        assert list(pool.each(process_work.killed, whole)) == [66, 63, 30, 0]
    assert shared(0, 3).shape == (0, 3)
    del x, whole
    assert len(list(descriptors.iterdir())) == before


@pytest.mark.skipif(sys.platform != "linux", reason="copied there")
def test_shared_vectors_on_a_system_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 2**20)  # such a system refuses it as it does what it does not know
    assert shared(2, 3).tolist() == [[0.0] * 3] * 2


def test_what_processes_fail_to_give_is_made_here() -> None:
    said: list[str] = []
    tasks = [(np.full((2, 2), i, dtype=np.float16), i == 3) for i in range(6)]
    with Processes(2, process_work.__name__, said.append) as pool:
        assert list(pool.each(process_work.killed, tasks)) == [0, 4, 8, 12, 16, 20]
        assert list(pool.each(process_work.killed, tasks)) == [0, 4, 8, 12, 16, 20]
    (why,) = said
    assert "terminated abruptly" in why


def test_an_error_of_the_work_itself_is_raised() -> None:
    with Processes(2, process_work.__name__, lambda _: None) as pool, pytest.raises(ZeroDivisionError):
        list(pool.each(process_work.divided, [(np.ones((1, 1), dtype=np.float16), 0)]))


def test_no_room_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    said: list[str] = []
    with Processes(2, process_work.__name__, said.append) as pool:
        assert list(pool.each(process_work.killed, [(np.ones((2, 2), dtype=np.float16), False)])) == [4]
    assert "/proc" in said[0]


def test_an_unfinished_run_ends_with_its_block() -> None:
    with Processes(2, process_work.__name__, lambda _: None) as pool:
        with closing(pool.each(process_work.asleep, [(np.ones((1, 1), dtype=np.float16), 0.1)] * 9)) as found:
            process = next(found)
        folder = Path(pool._folder)
    assert not alive(process)
    assert not folder.exists()


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_processes_end_with_their_parent(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, "60" if how == "kill" else "10"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        *processes, folder = parent.stdout.readline().split()
        if how == "kill":
            parent.kill()
        else:
            os.killpg(parent.pid, signal.SIGINT)  # as a terminal's Ctrl-C
        _, errors = parent.communicate()
    assert errors.count("Traceback") == (how == "interrupt"), errors  # the parent's own
    end = time.monotonic() + 30
    while any(map(alive, map(int, processes))) or Path(folder).exists():
        assert time.monotonic() < end
        time.sleep(0.05)
