"""A build from text and a teacher to a published dictionary, as one function: `sensedict build` in line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from sensedict.errors import Conflict, SenseDictError
from sensedict_server.build.identity import content_of
from sensedict_server.build.needs import check_writable
from sensedict_server.build.observers import Bars
from sensedict_server.build.opening import open_build
from sensedict_server.build.places import store_place
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.plan_shard import planned
from sensedict_server.build.publish_shard import published
from sensedict_server.build.settings_check import check_settings, check_sources_of, check_teacher
from sensedict_server.build.store import Store
from sensedict_server.build.worker import Worker
from sensedict_server.queries.builds import Build, find_build
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary

__all__ = ["build_dictionary", "check_settings", "enter_build", "plan_build"]

Say = Callable[[str], object]


def build_dictionary(
    engine: Engine,
    files_root: Path,
    settings: BuildSettings,
    work: str | Path,
    fresh: bool = False,
    say: Say = lambda line: None,
) -> tuple[Dictionary, bool]:
    """Build and publish a dictionary, alone or with any workers; what is made of it already is used again.

    Args:
        work: folder or URL of the shards.
        fresh: throw away what earlier builds left there.
        say: told what the stages say.

    Returns:
        The dictionary, and whether it was made now: one that is there with the same settings is given as it is.

    Raises:
        Conflict: the name and version are taken by a build with other settings, published or running; names what
            differs. Or the build was cancelled.
        ConfigurationError: the store cannot be opened or written, or the device not used; there is less disk than the
            build needs.
        LexiconNotFound, InvalidInput, ConfigurationError, NotFinite, Corrupt: see the stages.
        Unavailable: the database was away for longer than a minute.
        KeyboardInterrupt: told to stop by SIGINT or SIGTERM; called again, it goes on.
    """
    from sensedict_trainer.teacher import check_device

    _folder_of(work)
    check_device(settings.device)
    there = enter_build(engine, settings, work, fresh, say=say)
    if isinstance(there, Dictionary):
        return there, False
    bars = Bars(engine, say)
    worker = Worker(engine, files_root, bars, there.id, settings.device)
    try:
        if not worker.work_until_done():
            raise KeyboardInterrupt
    finally:
        bars.close()
    return _result(engine, there, worker), True


def enter_build(
    engine: Engine,
    settings: BuildSettings,
    work: str | Path,
    fresh: bool = False,
    say: Say = lambda line: None,
) -> Build | Dictionary:
    """Open a build or attach to it, so that workers make it; a dictionary that is there is given as it is.

    Raises:
        See `build_dictionary`.
    """
    from sensedict_trainer.outline import load_outline

    check_sources_of(engine, settings)
    outline = load_outline(settings.teacher)
    check_teacher(settings, outline)
    say(outline.summary)
    content = content_of(settings)
    there = published(engine, settings.name, settings.version, content)
    return there or open_build(engine, settings, content, store_place(work), fresh)


def plan_build(engine: Engine, files_root: Path, settings: BuildSettings, work: str | Path, say: Say) -> None:
    """Say what a build would do and need; the teacher's weights are not read, and nothing is written.

    Raises:
        LexiconNotFound, InvalidInput, ConfigurationError: as the build would; there is less disk than it needs.
    """
    from sensedict_trainer.outline import load_outline
    from sensedict_trainer.teacher_folder import check_folder

    folder = _folder_of(work)
    check_sources_of(engine, settings)
    if Path(settings.teacher).is_dir():  # of a name of the hub, no weights are downloaded to be looked for
        check_folder(Path(settings.teacher))
    outline = load_outline(settings.teacher)
    say(outline.summary)
    with planned(engine, settings, outline, (folder, files_root), say):
        say("time: run without --dry-run to measure")


def _folder_of(work: str | Path) -> Path | None:
    """The folder of a store, which can be written; None of a store elsewhere, which at least can be opened."""
    folder = Store(store_place(work)).folder
    if folder is None:
        return None
    check_writable(Path(folder))
    return Path(folder)


def _result(engine: Engine, build: Build, worker: Worker) -> Dictionary:
    """What came of a build that has ended."""
    with engine.connect() as connection:
        ended = find_build(connection, build.id)
        dictionary = find_dictionary(connection, build.name, build.version, drafts=True)
    if ended is None:
        raise Conflict(f"job {build.id}, {build.ref}, was removed: the same command begins it anew")
    if ended.state == "published" and dictionary is not None:
        return dictionary
    if ended.state == "failed":
        raise worker.failures.get(build.id) or SenseDictError(ended.error or f"{build.ref} failed")
    raise Conflict(f"job {build.id}, {build.ref}, was {ended.state}: the same command goes on with it")
