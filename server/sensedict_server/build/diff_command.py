"""`sensedict diff`: what became of the senses from one version of a dictionary to the next."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensedict.asking import print_table, printable
from sensedict.errors import Conflict, InvalidInput
from sensedict.fileset import MANIFEST
from sensedict.paths import write_whole
from sensedict.snapshot import Snapshot
from sensedict.source import Identity
from sensedict_server import files
from sensedict_server.catalogue import Catalogue
from sensedict_server.queries.id_maps import add_id_map, find_id_map
from sensedict_server.schema import migrated
from sensedict_server.settings import Settings

if TYPE_CHECKING:
    from sensedict_trainer.drift import SenseChanges
    from sensedict_trainer.drift_files import Version

_DECIDING = ("moved_beyond", "words_only", "senses")  # of a map; its bytes also depend on who wrote the file
_SHOWN = 20  # words
_AROUND = 30  # characters of a context on each side of the word


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--moved",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="A sense is kept up to this distance; 1 is how far a use lies from its sense.",
)
@click.option("--words-only", is_flag=True, help="Compare composed words alone: for other tokenizers.")
@click.option("--map", "map_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the id map (Parquet).")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture, .png or .svg.")
@click.option("--publish", "publishing", is_flag=True, help="Give the id map to the service: `query id-map` has it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(
    old: str,
    new: str,
    moved: float,
    words_only: bool,
    map_path: Path | None,
    plot: Path | None,
    publishing: bool,
    as_json: bool,
) -> None:
    """Match the senses of two dictionaries: kept, moved, split, merged, new, gone.

    OLD and NEW are NAME@VERSION in the database, or folders of file sets. A map that was published never changes.
    """
    from sensedict_trainer.drift_files import check_plot_path, map_bytes, write_plot

    if plot is not None:
        check_plot_path(plot)
    if publishing:
        _check_publishable(old, new)
    found, summary = _compare(_folders(old, new), moved, words_only)
    about = {name: value for name, value in summary.items() if name != "most_moved"}
    content = map_bytes(found, about)
    if map_path is not None:
        write_whole(map_path, content)
    if plot is not None:
        write_plot(found, moved, f"{summary['old']} → {summary['new']}", plot)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False, indent=2))
    else:
        _print(summary)
    if publishing:
        made = _publish(about, content)
        click.echo("the id map is published" if made else "the same id map is published already", err=True)


def _compare(places: tuple[Path, Path], moved: float, words_only: bool) -> tuple[SenseChanges, dict[str, Any]]:
    """What became of each sense, and what is said about it."""
    from tqdm import tqdm

    from sensedict_trainer.drift import changes
    from sensedict_trainer.drift_files import check_comparable, read_version

    notes = check_comparable(_identity(places[0]), _identity(places[1]), words_only)
    before, after = (read_version(place, words_only) for place in places)
    found = changes(before.senses, after.senses, moved, lambda owners: tqdm(owners, disable=None, leave=False))
    return found, {**_summary(before, after, found, moved, notes), "words_only": words_only}


def _check_publishable(old: str, new: str) -> None:
    """Let pass two different dictionaries of the database."""
    for ref in (old, new):
        if _is_file_set(ref):
            raise InvalidInput(f"{ref} is a folder: --publish takes two dictionaries of the database, as NAME@VERSION")
    settings = Settings.from_environment()
    with migrated(settings) as engine:
        catalogue = Catalogue(engine, settings.files)
        if catalogue.resolve(old).id == catalogue.resolve(new).id:
            raise InvalidInput(f"{old} and {new} are one dictionary: there is no map to publish")


def _publish(about: dict[str, Any], content: bytes) -> bool:
    """Store a map where the service finds it; false where it is there already.

    Raises:
        Conflict: a map that was made otherwise is there.
    """
    settings = Settings.from_environment()
    with migrated(settings) as engine:
        catalogue = Catalogue(engine, settings.files)
        old, new = (catalogue.resolve(about[side]) for side in ("old", "new"))
        with engine.begin() as connection:
            if add_id_map(connection, old.id, new.id, about, content):
                return True
            there = find_id_map(connection, old.id, new.id)
    before = {} if there is None else there.summary
    values = [
        f"{name} {before.get(name)} there, {about[name]} now" for name in _DECIDING if before.get(name) != about[name]
    ]
    if values:
        told = "; ".join(values)
        raise Conflict(f"a map from {old.ref} to {new.ref} is published already and never changes ({told})")
    return False


def _is_file_set(ref: str) -> bool:
    return (Path(ref) / MANIFEST).is_file()


def _folders(old: str, new: str) -> tuple[Path, Path]:
    """Where each file set is; written from the database first where it is missing."""
    with ExitStack() as stack:
        catalogue: Catalogue | None = None
        found: list[Path] = []
        for ref in (old, new):
            if _is_file_set(ref):
                found.append(Path(ref))
                continue
            settings = Settings.from_environment()
            if catalogue is None:
                engine = stack.enter_context(migrated(settings))
                catalogue = Catalogue(engine, settings.files)
            found.append(files.ensure(engine, settings.files, catalogue.resolve(ref)))
    return found[0], found[1]


def _identity(place: Path) -> Identity:
    with Snapshot.open(place) as opened_set:
        return opened_set.identity


def _summary(before: Version, after: Version, found: SenseChanges, moved: float, notes: list[str]) -> dict[str, Any]:
    from sensedict_trainer.drift import most_moved
    from sensedict_trainer.drift_files import read_contexts

    rows = most_moved(found, _SHOWN)
    old_uses = read_contexts(before, {int(found.old[row]) for row in rows})
    new_uses = read_contexts(after, {int(found.new[row]) for row in rows})
    return {
        "old": f"{before.identity.name}@{before.identity.version}",
        "new": f"{after.identity.name}@{after.identity.version}",
        "old_content_hash": before.identity.content_hash,
        "new_content_hash": after.identity.content_hash,
        "moved_beyond": moved,
        "notes": notes,
        "owners": {
            "both": len(before.senses.owners.keys() & after.senses.owners.keys()),
            "old_only": len(before.senses.owners.keys() - after.senses.owners.keys()),
            "new_only": len(after.senses.owners.keys() - before.senses.owners.keys()),
        },
        "senses": found.counts(),
        "most_moved": [
            {
                **found.owners[int(found.owner[row])]._asdict(),  # type: ignore[attr-defined]
                "old_id": int(found.old[row]),
                "new_id": int(found.new[row]),
                "distance": float(found.distance[row]),
                "old_context": old_uses.get(int(found.old[row])),
                "new_context": new_uses.get(int(found.new[row])),
            }
            for row in rows
        ],
    }


def _print(summary: dict[str, Any]) -> None:
    for note in summary["notes"]:
        click.echo(f"note: {note}", err=True)
    owners = summary["owners"]
    click.echo(
        f"{summary['old']} → {summary['new']}: {owners['both']:,} tokens and words in both, "
        f"{owners['old_only']:,} in the old alone, {owners['new_only']:,} in the new alone"
    )
    print_table(["state", "senses"], summary["senses"].items())
    if not summary["most_moved"]:
        return
    click.echo("\nmost moved:")
    print_table(
        ["word", "old", "new", "distance", "context before", "context after"],
        [
            (
                row["text"],
                row["old_id"],
                row["new_id"],
                f"{row['distance']:.2f}",
                _context(row["old_context"]),
                _context(row["new_context"]),
            )
            for row in summary["most_moved"]
        ],
    )


def _context(parts: tuple[str, str, str] | None) -> str:
    if parts is None:
        return ""
    before, use, after = (printable(part) for part in parts)
    return f"{before[-_AROUND:]}[{use}]{after[:_AROUND]}"
