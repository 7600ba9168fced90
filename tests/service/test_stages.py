"""Stages of a build with a real teacher, one shard at a time: what is kept, and what happens to damaged files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sqlalchemy import Engine

from harvested import anew, open_workplace
from sensedict_server.build import planning
from sensedict_server.build.identity import content_of
from sensedict_server.build.jobs import missing
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.sources import parse_source
from sensedict_server.build.stages import Workplace, run, stages
from sensedict_trainer.harvest import KeyPolicy, text_keys
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.reservoir import keep
from sensedict_trainer.teacher import load_teacher
from sensedict_trainer.text import TokenWindow, cut_windows
from sensedict_trainer.text_sources import read_documents
from tiny_teacher import corpus, save_tiny_teacher


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "tiny", layers=2)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    rows = [json.dumps({"id": f"s{i}", "text": sentence}) for i, sentence in enumerate(corpus(200, seed=1))]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, teacher_folder: Path, text: Path) -> BuildSettings:
    """Settings of a build of several shards."""
    monkeypatch.setattr(planning, "SHARD_TOKENS", 500)
    monkeypatch.setattr(planning, "SHARD_STATES", 400)
    return BuildSettings(
        str(teacher_folder), (str(text),), "pairs@1", "tiny", "1", k=3, window=32, cap=40, first=20, threads=1
    )


Open = Callable[[BuildSettings], Workplace]


@pytest.fixture
def opened(database: Engine, tmp_path: Path) -> Open:
    """A build of some settings, of which nothing is made."""
    load_lexicon(database, "pairs", "1", Recipe([parse_source("opposites")], []))
    return lambda settings: open_workplace(database, tmp_path / settings.version, settings, content_of(settings))


def go_on(workplace: Workplace, until: str = "") -> None:
    """Make what is missing, a stage after the other, up to shards of that stage."""
    while left := missing(stages(workplace), workplace.manifest.shards()):
        if left[0].startswith(until or "-"):
            return
        for shard in left:
            run(shard, anew(workplace))


def states_of(workplace: Workplace) -> dict[str, NDArray[Any]]:
    """Everything harvested, by window and position."""
    place = anew(workplace)
    found = [place.read(name) for name in sorted(place.made) if name.startswith("harvest/")]
    tensors = {name: np.concatenate([part[name] for part in found]) for name in found[0] if not name.startswith("sum")}
    order = np.lexsort((tensors["positions"], tensors["windows"]))
    return {name: tensor[order] for name, tensor in tensors.items()}


def windows_of(build: BuildSettings) -> list[TokenWindow]:
    return cut_windows(read_documents(build.corpus), load_teacher(build.teacher).tokenizer, build.window, build.tokens)


@pytest.mark.parametrize(
    ("key", "state_point"), [("next", "final_norm"), ("input", "layer:1"), ("predicted", "final_norm")]
)
def test_the_harvest_holds_the_states_of_a_bottom_k_sample_of_each_key(
    opened: Open, build: BuildSettings, key: KeyPolicy, state_point: str
) -> None:
    build = replace(build, key=key, state_point=state_point)
    workplace = opened(build)
    go_on(workplace, until="cluster")
    found, windows = states_of(workplace), windows_of(build)
    positions = sample(build, windows)
    places = [(w, p) for w, some in enumerate(positions) for p in some.tolist()]
    assert list(zip(found["windows"].tolist(), found["positions"].tolist(), strict=True)) == places
    keys, vectors = expected(build, windows, positions)
    assert found["keys"].tolist() == keys.tolist()
    assert np.abs(found["vectors"].astype(np.float32) - vectors).max() < 0.02  # another batch, other rounding


def sample(build: BuildSettings, windows: list[TokenWindow]) -> list[NDArray[np.int64]]:
    """Positions of each window that are kept, chosen in memory all at once."""
    keys = [text_keys(window, build.key) for window in windows]
    known = [some for some in keys if some is not None]
    if not known:
        return [np.arange(len(window.ids)) for window in windows]
    draws = [
        mix(sequence_key(build.seed, window.id, "reservoir"), np.arange(len(some)))
        for window, some in zip(windows, known, strict=True)
    ]
    chosen = keep(np.concatenate(known), np.concatenate(draws), build.cap)
    return [np.flatnonzero(some) for some in np.split(chosen, np.cumsum([len(some) for some in known])[:-1])]


def expected(
    build: BuildSettings, windows: list[TokenWindow], positions: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Keys and states, window by window, from the model itself."""
    teacher = load_teacher(build.teacher)
    layer = 1 if build.state_point == "layer:1" else -1  # the last is after the norm
    keys, vectors = [], []
    for window, some in zip(windows, positions, strict=True):
        with torch.inference_mode():
            out = teacher.model(torch.from_numpy(window.ids[None].astype(np.int64)), output_hidden_states=True)
        own = text_keys(window, build.key)
        keys.append((out.logits[0].argmax(dim=-1).numpy() if own is None else own)[some])
        vectors.append(out.hidden_states[layer][0, torch.from_numpy(some)].numpy())
    return np.concatenate(keys).astype(np.int32), np.concatenate(vectors)
