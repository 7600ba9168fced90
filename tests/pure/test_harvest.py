"""Hidden states at their places: the teacher's own, whatever windows ran together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sensedict.errors import NotFinite
from sensedict_trainer.harvest import harvest_into
from sensedict_trainer.state_points import StatePoint
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import TokenWindow
from tiny_teacher import save_tiny_teacher

LENGTHS = (32, 8, 9, 32, 17, 8, 8, 30, 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "t")


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Teacher:
    return load_teacher(str(folder))


@pytest.fixture(scope="module")
def windows() -> list[TokenWindow]:
    random = np.random.default_rng(0)
    drawn = [random.integers(1, 300, n).astype(np.int32) for n in LENGTHS]
    return [TokenWindow(f"w#{i}", ids) for i, ids in enumerate(drawn)]


def _wanted(windows: list[TokenWindow]) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    wanted = [np.flatnonzero(random.random(len(w.ids)) < 0.5).astype(np.int32) for w in windows]
    wanted[3] = np.zeros(0, dtype=np.int32)
    wanted[1] = np.array([7], dtype=np.int32)  # its last
    return wanted


def test_states_and_predictions_go_to_their_places(
    teacher: Teacher, windows: list[TokenWindow], tmp_path: Path
) -> None:
    wanted = _wanted(windows)
    total = sum(map(len, wanted))
    rows = np.random.default_rng(2).permutation(total + 5)[:total]
    slots = np.split(rows, np.cumsum([len(at) for at in wanted])[:-1])
    out = np.memmap(tmp_path / "out", dtype=np.float16, mode="w+", shape=(total + 5, teacher.dim))
    out[:] = 7
    keys = np.full(total + 5, -1, dtype=np.int32)
    passed: list[int] = []
    harvest_into(teacher, windows, wanted, slots, out, 2, passed.append, keys)
    for window, at, places in zip(windows, wanted, slots, strict=True):
        with torch.no_grad():
            alone = teacher.hidden_states(torch.from_numpy(window.ids.astype(np.int64))[None])[0, at]
            likeliest = teacher.head(alone).argmax(dim=-1).numpy()
        np.testing.assert_allclose(out[places], alone.numpy(), rtol=2e-3, atol=2e-3)
        assert keys[places].tolist() == likeliest.tolist()
    untouched = np.setdiff1d(np.arange(total + 5), rows)
    assert (out[untouched] == 7).all()
    assert (keys[untouched] == -1).all()
    assert sum(passed) == sum(LENGTHS) - LENGTHS[3]  # a window without a wanted position is not run


def test_states_of_a_layer(teacher: Teacher, windows: list[TokenWindow]) -> None:
    point = StatePoint(2)
    out = np.zeros((3, teacher.dim), dtype=np.float16)
    nothing = np.zeros(0, dtype=np.int64)
    at, slots = [np.array([0, 5, 7]), nothing], [np.array([2, 0, 1]), nothing]
    harvest_into(teacher, windows[:2], at, slots, out, 2, point=point)
    with torch.no_grad():
        alone = teacher.states_at(point, torch.from_numpy(windows[0].ids.astype(np.int64))[None])[0, at[0]].numpy()
    np.testing.assert_allclose(out[slots[0]], alone, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("dtype", "close"), [("bfloat16", 0.25), ("float16", 0.03)])
def test_states_of_a_teacher_in_half_precision(
    folder: Path, teacher: Teacher, windows: list[TokenWindow], dtype: str, close: float
) -> None:
    """Off by what the dtype rounds, in float16 an eighth as much; a neighbour is farther off than either."""
    wanted = [np.arange(n) for n in LENGTHS]
    slots = np.split(np.arange(sum(LENGTHS)), np.cumsum(LENGTHS)[:-1])
    whole, half = (np.zeros((sum(LENGTHS), teacher.dim), dtype=np.float16) for _ in range(2))
    harvest_into(teacher, windows, wanted, slots, whole, 2)
    harvest_into(load_teacher(str(folder), dtype), windows, wanted, slots, half, 2)
    expected = whole.astype(np.float64)
    error = np.linalg.norm(half - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0 < error.max() < close


def test_a_batch_holds_the_tokens_of_so_many_full_windows(teacher: Teacher, windows: list[TokenWindow]) -> None:
    shapes: list[tuple[int, ...]] = []
    hook = teacher.backbone.register_forward_pre_hook(
        lambda _module, _args, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    try:
        wanted = [np.arange(n) for n in LENGTHS]
        slots = np.split(np.arange(sum(LENGTHS)), np.cumsum(LENGTHS)[:-1])
        found = [np.zeros((sum(LENGTHS), teacher.dim), dtype=np.float16) for _ in range(2)]
        for out in found:
            harvest_into(teacher, windows, wanted, slots, out, 2)
        harvest_into(teacher, windows, [at[:0] for at in wanted], [at[:0] for at in slots], out[:0], 2)  # runs nothing
    finally:
        hook.remove()
    assert shapes[: len(shapes) // 2] == [(2, 32), (2, 30), (5, 12)]
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 7e4])
def test_a_state_that_is_no_number_is_named_and_its_batch_not_written(
    folder: Path, windows: list[TokenWindow], value: float
) -> None:
    broken = load_teacher(str(folder))

    def damage(_module: object, _args: object, inputs: Any, output: Any) -> None:
        output.last_hidden_state[inputs["input_ids"] == 399] = value

    broken.backbone.register_forward_hook(damage, with_kwargs=True)
    ids = windows[4].ids.copy()
    ids[11] = 399  # which no other window has
    some = [*windows[:4], TokenWindow("book#4", ids), *windows[5:]]
    wanted = [np.arange(len(window.ids)) for window in some]
    slots = np.split(np.arange(sum(LENGTHS)), np.cumsum(LENGTHS)[:-1])
    out = np.full((sum(LENGTHS), broken.dim), 7, dtype=np.float16)
    with pytest.raises(NotFinite, match="position 11 of book#4 is NaN, infinite"):
        harvest_into(broken, some, wanted, slots, out, 2)
    assert np.isfinite(out).all()
    assert (out[slots[0]] != 7).any()  # the longest ran first
    assert (out[slots[4]] == 7).all()
    assert (out[slots[7]] == 7).all()  # beside it
