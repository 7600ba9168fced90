"""A plan and a harvest in a store, written from states that a test has, as the stages before clusters write them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import Engine, insert

from sensedict_server.build.manifest import Manifest
from sensedict_server.build.plan import BuildSettings, ClusterPart, HarvestPart
from sensedict_server.build.store import Store
from sensedict_server.build.windows import Windows
from sensedict_server.build.workplace import Workplace
from sensedict_server.queries.builds import find_build
from sensedict_server.tables import builds
from sensedict_trainer.harvest import KeyPolicy, harvest_into
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.reservoir import keep
from sensedict_trainer.streaming import accumulate, settled_at
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow

V, D, WINDOWS, LONG = 24, 12, 60, 16  # of `some_uses`


@dataclass(frozen=True)
class Uses:
    """Every state of a corpus: its key, where it was read, and the state itself, in the order of the corpus.

    Attributes:
        tokens: of each window; keys, windows, positions: (m,); vectors: (m, D) float16.
    """

    tokens: Sequence[NDArray[np.int32]]
    keys: NDArray[np.int32]
    windows: NDArray[np.int32]
    positions: NDArray[np.int32]
    vectors: NDArray[np.float16]

    def priorities(self, seed: int) -> NDArray[np.uint64]:
        """Of each state, as the plan draws them."""
        return mix(window_keys(seed, len(self.tokens))[self.windows], self.positions)


def some_uses(policy: str = "next", seed: int = 0) -> Uses:
    """States that lie in groups, of keys with falling frequency; the last keys of the vocabulary have none."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, V - 3)
    tokens = [random.choice(V - 4, LONG, p=weights / weights.sum()).astype(np.int32) for _ in range(WINDOWS)]
    keys = np.concatenate([ids[1:] for ids in tokens])
    if policy == "predicted":
        keys = random.permutation(keys)
    centres = random.normal(0, 3, (V, 5, D))
    vectors = centres[keys, random.integers(5, size=len(keys))] + random.normal(0, 1, (len(keys), D))
    vectors[keys == 2] = vectors[keys == 2][0]  # one token whose states are all the same
    return Uses(
        tokens=tokens,
        keys=keys,
        windows=np.repeat(np.arange(WINDOWS, dtype=np.int32), LONG - 1),
        positions=np.tile(np.arange(LONG - 1, dtype=np.int32), WINDOWS),
        vectors=vectors.astype(np.float16),
    )


def real_uses(teacher: Teacher, windows: Sequence[TokenWindow], policy: KeyPolicy) -> Uses:
    """A teacher's states at every position of some windows that has a key."""
    tokens = [window.ids for window in windows]
    wanted = [np.arange(len(ids) - (policy == "next"), dtype=np.int32) for ids in tokens]
    sizes = [len(at) for at in wanted]
    vectors = np.empty((sum(sizes), teacher.dim), dtype=np.float16)
    predicted = np.empty(sum(sizes), dtype=np.int32)
    slots = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    harvest_into(teacher, windows, wanted, slots, vectors, 8, predicted=predicted)
    return Uses(
        tokens=tokens,
        keys=predicted if policy == "predicted" else np.concatenate([ids[policy == "next" :] for ids in tokens]),
        windows=np.repeat(np.arange(len(windows), dtype=np.int32), sizes),
        positions=np.concatenate(wanted),
        vectors=vectors,
    )


def window_keys(seed: int, windows: int) -> NDArray[np.uint64]:
    """(windows,) of windows called 0, 1, 2, …"""
    return np.array([sequence_key(seed, str(window), "reservoir") for window in range(windows)], dtype=np.uint64)


def open_workplace(engine: Engine, folder: Path, settings: BuildSettings, content: dict[str, Any]) -> Workplace:
    """A build that is running, and a place to work at it."""
    values = {"name": settings.name, "version": settings.version, "content": content, "store": str(folder / "store")}
    with engine.begin() as connection:
        row = insert(builds).values(**values, settings=settings.to_json()).returning(builds.c.id)
        build = find_build(connection, connection.execute(row).scalar_one())
    assert build is not None
    return Workplace(
        build=build,
        engine=engine,
        files_root=folder / "files",
        manifest=Manifest(engine, build.id),
        store=Store(build.store),
        worker="here:1",
        device="cpu",
        advance=lambda units: None,
        say=lambda line: None,
    )


def anew(workplace: Workplace) -> Workplace:
    """The same place as the next worker finds it, who looks at the manifest again."""
    return replace(workplace)


@dataclass(frozen=True)
class Harvester:
    """Writes plan and harvest.

    Attributes:
        cuts: number of the first window of each shard of the harvest; generations: of each of them.
        ranges: (first token, end) of the shards of clusters, the same in each generation.
        vocabulary_size: V.
    """

    workplace: Workplace
    uses: Uses
    cuts: Sequence[int]
    generations: Sequence[int]
    ranges: Sequence[tuple[int, int]]
    vocabulary_size: int

    @property
    def shards(self) -> list[tuple[str, int, int]]:
        """(name, first window, end)."""
        ends = [*self.cuts[1:], len(self.uses.tokens)]
        found = enumerate(zip(self.cuts, ends, self.generations, strict=True))
        return [(f"harvest/{generation}/{i:06d}", first, end) for i, (first, end, generation) in found]

    @property
    def clusters(self) -> list[str]:
        """Names of the shards of clusters."""
        return [name for name, *_ in self.parts]

    @property
    def parts(self) -> list[tuple[str, int, int, int]]:
        """(name, generation, first token, end) of the shards of clusters."""
        return [
            (f"cluster/{generation}/{i:06d}", generation, first, end)
            for generation in range(max(self.generations) + 1)
            for i, (first, end) in enumerate(self.ranges)
        ]

    def generation_of_uses(self) -> NDArray[np.int64]:
        """(m,) in which each state is read."""
        return np.asarray(self.generations)[np.searchsorted(self.cuts, self.uses.windows, side="right") - 1]

    def settled(self) -> NDArray[np.int8]:
        """(V,) generation in which each key is clustered, −1 for keys without uses."""
        generation = self.generation_of_uses()
        counts = np.stack(
            [
                np.bincount(self.uses.keys[generation <= g], minlength=self.vocabulary_size)
                for g in range(max(self.generations) + 1)
            ]
        )
        found = np.where(counts[-1] > 0, settled_at(counts, self.workplace.settings.first), -1)
        return found.astype(np.int8)

    def stored(self) -> NDArray[np.bool_]:
        """(m,) which states are kept."""
        settings, uses = self.workplace.settings, self.uses
        if settings.key == "predicted":
            return np.ones(len(uses.keys), dtype=np.bool_)
        early = np.flatnonzero(self.generation_of_uses() <= self.settled()[uses.keys])
        cap = settings.first if settings.mode == "streaming" else settings.cap
        found = np.zeros(len(uses.keys), dtype=np.bool_)
        found[early] = keep(uses.keys[early], uses.priorities(settings.seed)[early], cap)
        return found

    def write_plan(self) -> None:
        """The shard `plan` and the files of tokens."""
        uses, files = self.uses, {}
        draws = window_keys(self.workplace.settings.seed, len(uses.tokens))
        for name, first, end in self.shards:
            ids = uses.tokens[first:end]
            lengths = np.array([len(window) for window in ids], dtype=np.int32)
            written = Windows(first, np.concatenate(ids), lengths, draws[first:end]).to_tensors()
            files[name] = vars(self.workplace.store.write(f"tokens/{name}", written))
        tensors = {
            "occurrences": np.bincount(uses.keys, minlength=self.vocabulary_size),
            "settled": self.settled(),
            "stored": np.bincount(uses.keys[self.stored()], minlength=self.vocabulary_size),
            "window_keys": draws,
        }
        facts = {
            "token_files": files,
            "harvest": {
                name: vars(HarvestPart(int(name.split("/")[1]), first, end - first, 0, 0, 0, 0, 0))
                for name, first, end in self.shards
            },
            "cluster": {
                name: vars(ClusterPart(generation, first, end, 0)) for name, generation, first, end in self.parts
            },
            "hash": f"{self.cuts} {self.ranges}",
        }
        anew(self.workplace).add("plan", tensors, 1, 0.0, facts)

    def write_harvest(self, name: str) -> None:
        """One shard of the harvest; with sums of what was settled before."""
        uses = self.uses
        (first, end), generation = next(pair[1:] for pair in self.shards if pair[0] == name), int(name.split("/")[1])
        here = (uses.windows >= first) & (uses.windows < end)
        rows = np.flatnonzero(here & self.stored())
        settled = np.zeros(self.vocabulary_size) if self.workplace.settings.key == "predicted" else self.settled()
        by = (uses.positions[rows], uses.windows[rows], uses.keys[rows], settled[uses.keys[rows]])
        rows = rows[np.lexsort(by)]
        tensors = {
            "keys": uses.keys[rows],
            "windows": uses.windows[rows],
            "positions": uses.positions[rows],
            "vectors": uses.vectors[rows],
        }
        slices = {}
        for cluster, at, low, high in self.parts:
            if at >= generation:
                mine = np.flatnonzero(
                    (settled[uses.keys[rows]] == at) & (tensors["keys"] >= low) & (tensors["keys"] < high)
                )
                start, stop = (int(mine[0]), int(mine[-1]) + 1) if len(mine) else (0, 0)
                slices[cluster] = [start, stop, _checksum(tensors, start, stop)]
        facts: dict[str, Any] = {"slices": slices}
        if generation:
            tensors, facts["sums"] = self._sums(np.flatnonzero(here), generation, tensors)
        anew(self.workplace).add(name, tensors, len(rows), 0.0, facts)

    def _sums(
        self, rows: NDArray[np.int64], generation: int, tensors: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, list[int]]]:
        place, settled = anew(self.workplace), self.settled()
        found: dict[str, list[NDArray[Any]]] = {}
        slices, row = {}, 0
        for cluster, earlier, low, high in self.parts:
            if earlier >= generation:
                continue
            part = place.read(cluster)
            keys = self.uses.keys[rows]
            later = rows[(keys >= low) & (keys < high) & (settled[keys] == earlier)]
            offsets = np.searchsorted(part["owners"], np.arange(self.vocabulary_size + 1))
            sums = accumulate(
                torch.from_numpy(self.uses.vectors[later]),
                torch.from_numpy(self.uses.keys[later]),
                torch.from_numpy(offsets),
                torch.from_numpy(part["vectors"].copy()),
            )
            owners = part["owners"][sums.senses.numpy()]
            one = {
                "sum_owners": owners,
                "sum_ordinals": (sums.senses.numpy() - offsets[owners]).astype(np.int16),
                "sum_counts": sums.counts.numpy(),
                "sum_squares": sums.squares.numpy(),
                "sums": sums.sums.numpy(),
            }
            slices[cluster] = [row, row + len(owners), _checksum(one, 0, len(owners))]
            row += len(owners)
            for tensor, values in one.items():
                found.setdefault(tensor, []).append(values)
        return {**tensors, **{tensor: np.concatenate(some) for tensor, some in found.items()}}, slices


def _checksum(tensors: dict[str, NDArray[Any]], start: int, stop: int) -> int:
    checksum = 0
    for tensor in tensors.values():
        checksum = zlib.crc32(tensor[start:stop].tobytes(), checksum)
    return checksum
