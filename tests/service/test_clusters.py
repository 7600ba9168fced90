"""Shards of clusters: the senses that k-means of each token's states gives, whoever makes them of whatever harvest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import Engine

from harvested import WINDOWS, Harvester, V, anew, open_workplace, some_uses
from sensedict import arrays
from sensedict.errors import Corrupt, InvalidInput
from sensedict_server.build import clusters
from sensedict_server.build.allocation_shards import allocate_shard, curve_shard
from sensedict_server.build.clusters import cluster_shard, seed_of
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.workplace import LostShard, Workplace
from sensedict_trainer.allocation import curve, grid
from sensedict_trainer.cluster import cluster
from sensedict_trainer.reservoir import keep

SETTINGS = BuildSettings(teacher="none", corpus=(), lexicon="l@1", name="n", version="1", k=3, cap=40, contexts=2)


def harvested(
    database: Engine,
    folder: Path,
    settings: BuildSettings = SETTINGS,
    cuts: tuple[int, ...] = (0, 13, 40),
    ranges: tuple[tuple[int, int], ...] = ((0, 1), (1, 9), (9, V - 4), (V - 4, V)),
) -> Harvester:
    """A build whose plan and harvest are there."""
    workplace = open_workplace(database, folder, settings, {})
    made = Harvester(workplace, some_uses(settings.key), cuts, [0] * len(cuts), ranges, V)
    made.write_plan()
    for name, _, _ in made.shards:
        made.write_harvest(name)
    return made


def clustered(made: Harvester) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of all shards of clusters, one after another."""
    for name in made.clusters:
        cluster_shard(name, anew(made.workplace))
    parts = [anew(made.workplace).read(name) for name in made.clusters]
    return {tensor: np.concatenate([part[tensor] for part in parts]) for tensor in parts[0] if tensor != "near_senses"}


@pytest.mark.parametrize("key", ["next", "predicted"])
def test_the_senses_are_the_clusters_of_the_kept_states(database: Engine, tmp_path: Path, key: Any) -> None:
    made = harvested(database, tmp_path, replace(SETTINGS, key=key))
    found, uses = clustered(made), made.uses
    kept = keep(uses.keys, uses.priorities(0), SETTINGS.cap)  # predicted: capped now, else by the plan
    assert kept.sum() < len(uses.keys)
    for token in range(V):
        own, rows = found["owners"] == token, np.flatnonzero(kept & (uses.keys == token))
        if not len(rows):
            assert not own.any()
            continue
        expected = cluster(torch.from_numpy(uses.vectors[rows]), SETTINGS.k, seed_of(0, token))
        assert found["vectors"][own].tobytes() == expected.centroids.half().numpy().tobytes()
        assert found["counts"][own].tolist() == expected.counts.tolist()
        assert found["inertia"][own].tolist() == expected.inertia.tolist()
        for sense, (windows, positions) in enumerate(
            zip(found["member_windows"][own], found["member_positions"][own], strict=True)
        ):
            members = rows[expected.labels.numpy() == sense]
            near = members[np.argsort(expected.distances.numpy()[expected.labels.numpy() == sense], kind="stable")][:2]
            places = list(zip(uses.windows[near].tolist(), uses.positions[near].tolist(), strict=True))
            places += [(-1, -1)] * (2 - len(places))
            assert list(zip(windows.tolist(), positions.tolist(), strict=True)) == places
    facts = [anew(made.workplace).made[name].facts for name in made.clusters]
    assert [fact["senses"] for fact in facts] == [len(anew(made.workplace).read(n)["owners"]) for n in made.clusters]
    assert [fact["collapsed"] for fact in facts] == [0, 1, 0, 0]  # the token whose states are all one
    if key == "predicted":
        assert found["occurrences"].tolist() == np.bincount(uses.keys, minlength=V).tolist()


@pytest.mark.parametrize("key", ["next", "predicted"])
def test_neither_the_cut_of_the_harvest_nor_that_of_the_tokens_matters(
    database: Engine, tmp_path: Path, key: Any
) -> None:
    settings = replace(SETTINGS, key=key)
    one = clustered(harvested(database, tmp_path / "a", settings))
    other = replace(settings, version="2")
    two = clustered(harvested(database, tmp_path / "b", other, tuple(range(0, WINDOWS, 4)), ((0, 5), (5, V))))
    assert {name: values.tobytes() for name, values in one.items()} == {n: v.tobytes() for n, v in two.items()}


def test_processes_change_nothing(database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = clustered(harvested(database, tmp_path / "a", replace(SETTINGS, threads=1)))
    monkeypatch.setattr(clusters, "_WORTH", 0)
    told: list[str] = []
    two = harvested(database, tmp_path / "b", replace(SETTINGS, version="2", threads=2))
    two = replace(two, workplace=replace(two.workplace, say=told.append))
    assert {name: values.tobytes() for name, values in one.items()} == {
        name: values.tobytes() for name, values in clustered(two).items()
    }
    assert told == []
    assert clusters.processes(2, 1) == 2


def test_a_shard_that_is_made_twice_is_the_same_and_leaves_one_file(database: Engine, tmp_path: Path) -> None:
    made = harvested(database, tmp_path)
    late = anew(made.workplace)
    assert late.made
    cluster_shard(made.clusters[1], anew(made.workplace))
    first = anew(made.workplace).made[made.clusters[1]]
    cluster_shard(made.clusters[1], late)
    assert anew(made.workplace).made[made.clusters[1]] == first
    assert len(list((tmp_path / "store").glob("cluster/0/000001.*"))) == 1


def flip(workplace: Workplace, name: str, tensor: str, row: int) -> None:
    """Turn over one bit of a row of a file."""
    path = Path(str(workplace.store.folder)) / workplace.made[name].file
    data = bytearray(path.read_bytes())
    place = arrays.layout(bytes(data[: arrays.header_bytes(data[:8])]))[tensor]
    data[place.begin + row * (place.end - place.begin) // place.shape[0]] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("tensor", ["keys", "windows", "positions", "vectors"])
def test_a_flipped_bit_in_a_slice_is_noticed(database: Engine, tmp_path: Path, tensor: str) -> None:
    made = harvested(database, tmp_path)
    name = made.shards[1][0]
    assert "slices" not in anew(made.workplace).made[name].facts  # of all of them too much for every shard to read
    start, stop, _ = made.workplace.manifest.harvests_for("cluster/0/000001", "slices")[name].facts["rows"]
    flip(anew(made.workplace), name, tensor, (start + stop) // 2)
    cluster_shard("cluster/0/000000", anew(made.workplace))  # another slice of the file is whole
    with pytest.raises(LostShard, match=f"{name} is made again") as raised:
        cluster_shard("cluster/0/000001", anew(made.workplace))
    assert raised.value.name == name
    assert name not in anew(made.workplace).made
    with pytest.raises(LostShard, match=f"{name} of n@1 is not there"):  # not taken for one without such states
        cluster_shard("cluster/0/000001", anew(made.workplace))
    made.write_harvest(name)
    cluster_shard("cluster/0/000001", anew(made.workplace))


def test_a_place_that_loses_files_is_given_up(database: Engine, tmp_path: Path) -> None:
    made = harvested(database, tmp_path)
    name = made.shards[2][0]
    for loss in range(3):
        workplace = anew(made.workplace)
        path = tmp_path / "store" / workplace.made[name].file
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(Corrupt, match="name another store" if loss == 2 else "is made again"):
            cluster_shard("cluster/0/000001", workplace)
        made.write_harvest(name)


def test_what_advance_raises_ends_the_work_and_leaves_nothing(database: Engine, tmp_path: Path) -> None:
    made = harvested(database, tmp_path)

    def stop(_units: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cluster_shard("cluster/0/000001", replace(made.workplace, advance=stop))
    assert "cluster/0/000001" not in anew(made.workplace).made
    assert not (tmp_path / "store" / "cluster").exists()


def test_adaptive_numbers_of_senses(database: Engine, tmp_path: Path) -> None:
    settings = replace(SETTINGS, allocation="adaptive", k_most=6)
    made = harvested(database, tmp_path, settings)
    for name in made.clusters:
        curve_shard(name.replace("cluster", "curves"), anew(made.workplace))
    found = anew(made.workplace).read("curves/0/000001")
    uses = made.uses
    rows = np.flatnonzero(keep(uses.keys, uses.priorities(0), SETTINGS.cap) & (uses.keys == 4))
    expected = curve(torch.from_numpy(uses.vectors[rows]), grid(6), seed_of(0, 4))
    at = found["owners"].tolist().index(4)
    np.testing.assert_array_equal(found["curves"][at], expected)
    assert found["occurrences"][at] == (uses.keys == 4).sum() > found["states"][at] == len(rows)
    allocate_shard("allocate", anew(made.workplace))
    allocated = anew(made.workplace).read("allocate")
    given = dict(zip(allocated["owners"].tolist(), allocated["k"].tolist(), strict=True))
    of_fixed = np.minimum(np.bincount(uses.keys[made.stored()], minlength=V), settings.k).sum()
    assert sum(given.values()) <= of_fixed
    assert max(given.values()) > settings.k > min(given.values()) == 1
    counts = np.bincount(clustered(made)["owners"], minlength=V)
    assert counts[2] == 1 < given.pop(2)  # all its states are the same, those of tokens as frequent are not
    assert all(counts[token] == k for token, k in given.items())


def test_a_budget_that_is_too_small(database: Engine, tmp_path: Path) -> None:
    made = harvested(database, tmp_path, replace(SETTINGS, allocation="adaptive", k_most=6, budget=5))
    for name in made.clusters:
        curve_shard(name.replace("cluster", "curves"), anew(made.workplace))
    with pytest.raises(InvalidInput, match="raise the budget"):
        allocate_shard("allocate", anew(made.workplace))
    assert "allocate" not in anew(made.workplace).made
