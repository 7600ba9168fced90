"""Checks of what the database holds, and of the file sets made of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sensedict.errors import Corrupt
from sensedict.fileset import MANIFEST, Manifest
from sensedict_server import files
from sensedict_server.doctor.findings import DatabaseCheck, Finding, Reached
from sensedict_server.queries import operations
from sensedict_server.queries.dictionaries import list_dictionaries
from sensedict_server.queries.keys import keys_in_force
from sensedict_server.readiness import file_set_fault
from sensedict_server.settings import UNPROTECTED

_SOON = timedelta(days=14)
_STALLED = 600.0  # seconds; a shard of a large teacher takes minutes


def dictionaries(scene: Reached) -> Iterator[Finding]:
    """At least one to answer from."""
    if not list_dictionaries(scene.connection):
        yield Finding(
            "dictionaries", "warning", "no dictionary is published", "`sensedict build`, or import a snapshot"
        )


def aliases(scene: Reached) -> Iterator[Finding]:
    """Each stands for a published dictionary."""
    for alias in operations.dangling_aliases(scene.connection):
        yield Finding("aliases", "error", f"{alias} stands for no published dictionary", "set it anew, or remove it")


def file_sets(scene: Reached) -> Iterator[Finding]:
    """Whole, each of its dictionary, or to be written; every byte is read."""
    root = scene.settings.files
    published = {found.ref: found for found in list_dictionaries(scene.connection)}
    for ref, dictionary in published.items():
        place = files.folder(root, ref)
        if not (place / MANIFEST).exists():
            size = 2 * dictionary.dim * dictionary.senses
            fault = file_set_fault(root, operations.Latest(ref, dictionary.content_hash, size))
            told = f"{ref} has no file set here: the first bulk request waits until it is written"
            yield Finding("file sets", "error" if fault else "warning", fault or told, f"`sensedict files write {ref}`")
            continue
        try:
            if Manifest.from_json((place / MANIFEST).read_bytes()).identity.content_hash != dictionary.content_hash:
                told = f"{place} is of another dictionary that had the name {ref}"
                yield Finding("file sets", "warning", told, f"`sensedict files write {ref}` replaces it")
                continue
            files.verify(place)
        except Corrupt as error:
            fix = f"`rm -r {place}`, then `sensedict files write {ref}`"
            yield Finding("file sets", "error", error.detail.partition("; remove")[0], fix)
    left = [place for place in root.glob("[!.]*@*") if place.name not in published] if root.is_dir() else []
    for place in sorted(left):
        told = f"{place} is of no dictionary of this database"
        yield Finding("file sets", "warning", told, f"`rm -r {place}`, unless another database uses this folder")


def builds(scene: Reached) -> Iterator[Finding]:
    """Each that runs has a worker."""
    for number, ref in operations.stalled_builds(scene.connection, _STALLED):
        told = f"build {number} of {ref} runs, and nobody has worked on it for {_STALLED / 60:.0f} minutes"
        fix = f"start `sensedict worker`, the same `sensedict build` again, or `sensedict jobs cancel {number}`"
        yield Finding("builds", "warning", told, fix)


def workers(scene: Reached) -> Iterator[Finding]:
    """None that was killed and is still signed on."""
    living, known = operations.count_workers(scene.connection)
    if known > living:
        told = f"{known - living} of {known} workers give no sign of life: they were killed"
        yield Finding("workers", "warning", told, "nothing: the next worker that starts takes over what they left")


def keys(scene: Reached) -> Iterator[Finding]:
    """Somebody may call the service, and nobody who should not."""
    settings, now = scene.settings, datetime.fromtimestamp(scene.server.clock, UTC)
    if settings.keys == UNPROTECTED:
        told = f"SENSEDICT_KEYS={UNPROTECTED}: whoever reaches the service may change what it has"
        yield Finding("keys", "warning", told, "`sensedict keys create`, and leave SENSEDICT_KEYS out")
        return
    found = keys_in_force(scene.connection)
    if settings.keys == "required" and not found and settings.admin_key_file is None:
        yield Finding(
            "keys", "error", "keys are required and there is none", "`sensedict keys create NAME --scope admin`"
        )
    for key in found:
        if key.expires_at is not None and key.expires_at - now < _SOON:
            told = f"the key {key.name} expires on {key.expires_at:%Y-%m-%d %H:%M} UTC"
            yield Finding("keys", "warning", told, f"make another with `sensedict keys create`, then revoke {key.name}")


CONTENTS: list[DatabaseCheck] = [dictionaries, aliases, file_sets, builds, workers, keys]
