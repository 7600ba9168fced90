"""What a run's costs are counted by."""

import sys

import pytest
import torch

from sensedict_trainer.experiments.costs import watched

CPU = torch.device("cpu")
SIZE = 256 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the count is Linux's")
def test_memory_of_one_run_is_not_that_of_the_run_before() -> None:
    with watched(CPU) as before:
        pass
    with watched(CPU) as first:
        torch.ones(SIZE // 4)
    with watched(CPU) as second:
        pass
    grown = first["peak_bytes"] - before["peak_bytes"]
    assert 0.9 * SIZE < grown < 1.5 * SIZE
    assert second["peak_bytes"] < first["peak_bytes"] - 0.9 * SIZE


def test_where_the_count_cannot_be_begun_anew_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_text", refused)
    with watched(CPU) as found:
        pass
    assert found == {}
