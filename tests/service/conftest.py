"""What tests of builds share whose stages are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_builds import Made
from sensedict_server.build import shard_queue, worker


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Stages in place of the builder's own."""
    found = Made()
    monkeypatch.setattr(worker, "stages", found.stages)
    monkeypatch.setattr(worker, "run", found.run)
    monkeypatch.setattr(shard_queue, "IDLE", 0.05)
    return found


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A folder of shards that is not there yet."""
    return str(tmp_path / "store")
