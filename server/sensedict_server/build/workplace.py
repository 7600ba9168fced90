"""What a shard of a build is made with: settings, manifest and store, and what others have made before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import Engine

from sensedict.errors import Corrupt
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.store import Store
from sensedict_server.queries.builds import Build, Shard

LOSSES = 3  # of one shard, after which it is not made again: the place itself is broken


class LostShard(Corrupt):
    """A shard that was made is damaged or gone; it was taken out of the manifest, to be made again."""

    code = "lost-shard"

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


@dataclass(frozen=True)
class Workplace:
    """Where one shard is made.

    Attributes:
        build: its row. engine: of the database. files_root: where file sets are published.
        manifest, store: of the build.
        worker: `host:pid`, for the log.
        device, batch_size: where and how the teacher runs here.
        advance: told units done, several times a second at most; what it raises ends the work.
        say: told a line for whoever waits.
    """

    build: Build
    engine: Engine
    files_root: Path
    manifest: Manifest
    store: Store
    worker: str
    device: str
    batch_size: int
    advance: Callable[[int], None]
    say: Callable[[str], None]

    @cached_property
    def settings(self) -> BuildSettings:
        """Of the build."""
        return BuildSettings.from_json(self.build.settings)

    @cached_property
    def made(self) -> Mapping[str, Shard]:
        """All that was made when this was first asked, by name."""
        return self.manifest.shards()

    def needed(self, name: str) -> Shard:
        """A shard that was made before.

        Raises:
            LostShard: it was, and another reader found it damaged.
        """
        if name not in self.made:
            raise LostShard(name, f"{name} of {self.build.ref} is not there; it is made again")
        return self.made[name]

    def read(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of a shard that was made.

        Raises:
            LostShard: it is damaged or gone, and is to be made again.
            Corrupt: for the third time.
        """
        shard = self.needed(name)
        try:
            return self.store.read(shard.file, shard.sha256)
        except Corrupt as error:
            raise self.lost(name, error) from error

    def lost(self, name: str, error: Corrupt) -> Corrupt:
        """What to raise when a file of a shard was found damaged; the manifest no longer has the shard."""
        times = self.manifest.lose(self.made[name])
        if times >= LOSSES:
            return Corrupt(
                f"{name} of {self.build.ref} was damaged {times} times: {error.detail}; the place {self.store.url} "
                "loses what is written to it, name another store"
            )
        return LostShard(name, f"{error.detail}; {name} is made again")

    def add(
        self, name: str, tensors: Mapping[str, NDArray[Any]], size: int, seconds: float, facts: Mapping[str, Any]
    ) -> bool:
        """Write a shard and add it to the manifest; whether this attempt counts: another's may have been first.

        Raises:
            ConfigurationError, Unavailable: it cannot be written.
        """
        stored = self.store.write(name, tensors)
        shard = Shard(name, stored.file, stored.bytes, stored.sha256, size, seconds, self.worker, facts)
        if self.manifest.add(shard):
            return True
        self.store.remove(stored.file)
        return False
