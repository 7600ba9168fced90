"""What a shard holds in memory, of a real teacher: no more than the settings say, however much text there is."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from harvested import anew, open_workplace
from sensedict_server.build import planning
from sensedict_server.build.identity import content_of
from sensedict_server.build.jobs import missing
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.planning import PLACE_BYTES
from sensedict_server.build.sources import parse_source
from sensedict_server.build.stages import Workplace, run, stages
from tiny_teacher import corpus, save_tiny_teacher

DIM = 256
MEMORY = 3_000_000


def traced(shard: str, workplace: Workplace) -> int:
    """Most bytes that Python and NumPy held at once while a shard was made."""
    tracemalloc.start()
    try:
        run(shard, workplace)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("change", [{"mode": "exact"}, {"mode": "streaming", "first": 150}, {"key": "predicted"}])
def test_no_shard_holds_more_than_it_may(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    for name in ("SHARD_TOKENS", "SHARD_STATES"):  # so that memory alone cuts
        monkeypatch.setattr(planning, name, 10**9)
    load_lexicon(database, "pairs", "1", Recipe([parse_source("opposites")], []))
    teacher = save_tiny_teacher(tmp_path / "teacher", layers=1, dim=DIM)
    text = tmp_path / "corpus.txt"
    text.write_text("\n".join(corpus(900, seed=1)), "utf-8")
    settings = BuildSettings(str(teacher), (str(text),), "pairs@1", "tiny", "1", k=3, window=32, threads=1)
    settings = BuildSettings.from_json({**settings.to_json(), "cap": 250, "memory": MEMORY, **change})
    workplace = open_workplace(database, tmp_path, settings, content_of(settings))
    peaks: dict[str, int] = {}
    while not (left := missing(stages(workplace), workplace.manifest.shards()))[0].startswith("publish"):
        for shard in left:
            peaks[shard] = traced(shard, anew(workplace))
    parts = anew(workplace).made["plan"].facts
    states = sum(part["stored"] for part in parts["harvest"].values()) * (2 * DIM + PLACE_BYTES)
    assert states > MEMORY
    bound = (
        ("harvest/",) if settings.key == "predicted" else ("harvest/", "cluster/")
    )  # whose clusters are cut by a guess
    assert {shard: peak for shard, peak in peaks.items() if shard.startswith(bound) and peak > MEMORY} == {}
    assert max(peak for shard, peak in peaks.items() if shard.startswith("harvest/")) > MEMORY / 2
