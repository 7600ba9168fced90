"""What a shard of a build is made with: settings, manifest and store, and what others have made before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import Engine

from sensedict.errors import Corrupt, SenseDictError, Unavailable
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.store import Store
from sensedict_server.queries.builds import Build, Shard

LOSSES = 3  # of one shard, after which it is not made again: the place itself is broken


class LostShard(Corrupt):
    """A shard that was made is damaged or gone; it was taken out of the manifest, to be made again."""

    code = "lost-shard"

    def __init__(self, detail: str, name: str = "") -> None:
        super().__init__(detail)
        self.name = name  # of the shard


@dataclass(frozen=True)
class Workplace:
    """Where one shard is made.

    Attributes:
        build: its row. engine: of the database. files_root: where file sets are published.
        manifest, store: of the build.
        worker: `host:pid`, for the log.
        device: where the teacher runs here.
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
    advance: Callable[[int], None]
    say: Callable[[str], None]

    @cached_property
    def settings(self) -> BuildSettings:
        """Of the build."""
        return BuildSettings.from_json(self.build.settings)

    @cached_property
    def made(self) -> Mapping[str, Shard]:
        """All that was made when this was first asked, by name; facts without `slices` and `sums`."""
        return self.manifest.shards()

    @cached_property
    def plan(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of the plan, read when they are first asked for.

        Raises:
            LostShard, Corrupt: as `read`.
        """
        return self.read("plan")

    def needed(self, name: str) -> Shard:
        """A shard that was made before, for the plan that is there.

        Raises:
            LostShard: another reader found it damaged; or it was made for a plan that was lost. It is to be made again.
        """
        if name not in self.made:
            raise LostShard(f"{name} of {self.build.ref} is not there; it is made again", name)
        shard = self.made[name]
        if name != "plan":
            self.check_plan(shard)
        return shard

    def check_plan(self, shard: Shard) -> None:
        """Let pass a shard that was made for the plan that is there: in another one its name may mean something else.

        Raises:
            LostShard: it was made for another; all such are to be made again.
        """
        if shard.facts.get("plan") != self.needed("plan").facts["hash"]:
            self.drop_stale()
            raise LostShard(
                f"{shard.name} of {self.build.ref} is of a plan that was lost; it is made again", shard.name
            )

    def drop_stale(self) -> None:
        """Take out of the manifest, and of the store, what was made for another plan than the one that is there now."""
        for shard in self.manifest.drop_stale():
            self._remove(shard)

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
            raise self.lost(shard, error) from error

    def lost(self, shard: Shard, error: Corrupt) -> Corrupt:
        """What to raise when a file of a shard was found damaged; the manifest no longer has the shard.

        Files are seldom lost alone: shards of the same stage whose files are gone are taken out with it, so that all
        are made again at once.
        """
        times = self._lose(shard)
        if times >= LOSSES:
            return Corrupt(
                f"{shard.name} of {self.build.ref} was damaged {times} times: {error.detail}; the place "
                f"{self.store.url} loses what is written to it, name another store"
            )
        more = 0
        with suppress(Unavailable):
            for other in self._gone_beside(shard):
                self._lose(other)
                more += 1
        beside = f", and {more} more whose files are gone" if more else ""
        return LostShard(f"{error.detail}; {shard.name} is made again{beside}", shard.name)

    def _gone_beside(self, shard: Shard) -> Iterator[Shard]:
        """The other shards of a stage whose files are gone."""
        stage = shard.name.rpartition("/")[0]
        for other in self.made.values():
            if stage and other.name.startswith(f"{stage}/") and other.name != shard.name:
                self.advance(0)
                if not self.store.exists(other.file):
                    yield other

    def _lose(self, shard: Shard) -> int:
        """Take a shard out of the manifest and of the store; gives how often that happened to it."""
        times = self.manifest.lose(shard)
        self._remove(shard)
        return times

    def _remove(self, shard: Shard) -> None:
        """Remove the files of a shard that is lost, unless another build has taken them over; as far as that can be."""
        if self.manifest.is_shared(shard.file):
            return
        tokens = shard.facts.get("token_files", {}).values()  # of a plan
        for file in (shard.file, *(stored["file"] for stored in tokens)):
            with suppress(SenseDictError):
                self.store.remove(file)

    def add(
        self, name: str, tensors: Mapping[str, NDArray[Any]], size: int, seconds: float, facts: Mapping[str, Any]
    ) -> bool:
        """Write a shard and add it to the manifest; whether this attempt counts: another's may have been first.

        Raises:
            ConfigurationError, Unavailable: it cannot be written.
        """
        if name != "plan":
            facts = {**facts, "plan": self.needed("plan").facts["hash"]}
        stored = self.store.write(name, tensors)
        shard = Shard(name, stored.file, stored.bytes, stored.sha256, size, seconds, self.worker, facts)
        added = False
        try:
            added = self.manifest.add(shard)
        finally:
            if not added:  # another attempt was first, or the database is away
                with suppress(SenseDictError):
                    self.store.remove(stored.file)
        return added
