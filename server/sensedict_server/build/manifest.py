"""The manifest of a build: which shards are made, in which files. It is the truth; the queue of jobs is only a hint."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, insert, or_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from sensedict_server.patience import patient
from sensedict_server.queries.builds import Shard
from sensedict_server.queries.shards import harvests_for, is_shared, made_shards, stale_shards
from sensedict_server.tables import build_log, build_shards


@dataclass(frozen=True)
class Manifest:
    """Shards and log of one build, in the database, which is waited for while it is away."""

    engine: Engine
    build_id: int

    @patient
    def shards(self) -> dict[str, Shard]:
        """All that is made, by name; facts without `slices` and `sums`, which `harvests_for` gives."""
        with self.engine.connect() as connection:
            return made_shards(connection, self.build_id)

    @patient
    def harvests_for(self, shard: str, fact: str) -> dict[str, Shard]:
        """See `sensedict_server.queries.shards`."""
        with self.engine.connect() as connection:
            return harvests_for(connection, self.build_id, shard, fact)

    @patient
    def is_shared(self, file: str) -> bool:
        """Whether another build has the file too."""
        with self.engine.connect() as connection:
            return is_shared(connection, self.build_id, file)

    @patient
    def add(self, shard: Shard) -> bool:
        """Whether this attempt counts: the first to add a shard wins, the files of others are to be removed."""
        values = {name: value for name, value in vars(shard).items() if name != "name"}
        statement = upsert(build_shards).values(build_id=self.build_id, shard=shard.name, **values)
        statement = statement.on_conflict_do_update(
            index_elements=["build_id", "shard"],
            set_={name: statement.excluded[name] for name in values},
            # Lost, or added by this very attempt, whose answer did not come.
            where=or_(build_shards.c.file.is_(None), build_shards.c.file == statement.excluded.file),
        )
        with self.engine.begin() as connection:
            return connection.execute(statement.returning(build_shards.c.shard)).one_or_none() is not None

    @patient
    def lose(self, shard: Shard) -> int:
        """Take a damaged file out, so that the shard is made again; gives how often that happened to it."""
        statement = (
            update(build_shards)
            .where(build_shards.c.build_id == self.build_id, build_shards.c.shard == shard.name)
            .where(build_shards.c.file == shard.file)  # not another attempt's, made meanwhile
            .values(file=None, lost=build_shards.c.lost + 1)
            .returning(build_shards.c.lost)
        )
        with self.engine.begin() as connection:
            return int(connection.execute(statement).scalar_one_or_none() or 0)

    @patient
    def drop_stale(self) -> list[Shard]:
        """Take out what was made for another plan than the one that is there now; gives it."""
        with self.engine.begin() as connection:
            stale = stale_shards(connection, self.build_id)
            which = build_shards.c.file.in_([shard.file for shard in stale.values()])
            here = build_shards.c.build_id == self.build_id
            connection.execute(update(build_shards).where(here, which).values(file=None))
        return list(stale.values())

    @patient
    def log(self, worker: str, message: str) -> None:
        """Keep a line of what happened."""
        with self.engine.begin() as connection:
            connection.execute(insert(build_log).values(build_id=self.build_id, worker=worker, message=message))
