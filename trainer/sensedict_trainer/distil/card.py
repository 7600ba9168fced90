"""The model card in a student's folder: what it was made from and with, and how it is loaded."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensedict_trainer.distil.objective import kinds
from sensedict_trainer.document import Document, Paragraph, Section, Table, to_markdown
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.teacher_folder import folder_of
from sensedict_trainer.text_streams import PREFIX, parse_stream
from sensedict_trainer.work import flatten

if TYPE_CHECKING:
    from sensedict.source import SenseSource
    from sensedict_trainer.text import TokenWindow

_LAST = 20  # steps whose losses are averaged
_LOAD = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{folder}", dtype="{dtype}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
```"""


def describe_run(
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    source: SenseSource | None,
    text_sources: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """What a card says beside the run's settings, as JSON.

    Args:
        source: the dictionary; None for an objective without.
        text_sources: name and sha256 of each source of the text, see `sources_hash`.
    """
    base, licence = _origin(teacher)
    return {
        "teacher": {"name": teacher.name, "layers": teacher.layers, "base_model": base, "licence": licence},
        "text": {
            "sources": [list(entry) for entry in text_sources],
            "windows": len(windows),
            "tokens": sum(len(window.ids) for window in windows),
        },
        "dictionary": None
        if source is None
        else {**asdict(source.identity), "relations from": relation_sources(source)},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("sensedict", "torch", "transformers")},
        },
    }


def relation_sources(source: SenseSource) -> list[dict[str, Any]]:
    """Name, version and licence of each source of a dictionary's relations; none of a dictionary that cannot say."""
    from sensedict.client import SenseClient
    from sensedict.snapshot import Snapshot

    if isinstance(source, SenseClient):
        return [entry.model_dump() for entry in source.info().sources]
    return source.manifest.sources if isinstance(source, Snapshot) else []


def last_losses(rows: Sequence[Mapping[str, Any]], last: int = _LAST) -> dict[str, float]:
    """The mean of the loss and of each term over a history's last steps."""
    rows = rows[-last:]
    names = [name for name in ("loss", *kinds()) if rows and name in rows[0]]
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def model_card(note: Mapping[str, Any]) -> str:
    """The README.md that goes with a `sensedict-run.json`, with the front matter that the Hugging Face hub reads."""
    from huggingface_hub import ModelCardData

    run = note["run"]
    data = ModelCardData(
        base_model=run["teacher"]["base_model"],
        license=run["teacher"]["licence"],
        datasets=_hub_sets([name for name, _ in run["text"]["sources"]]) or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["distillation", "sensedict"],
    )
    sections = [_loading(note), _student(note), _text(note), _dictionary(note), _settings(note)]
    title = f"A student of {Path(run['teacher']['name']).name}"
    return f"---\n{data.to_yaml()}\n---\n\n{to_markdown(Document(title, [part for part in sections if part]))}"


def _loading(note: Mapping[str, Any]) -> Section:
    code = _LOAD.format(folder="FOLDER", dtype=note["dtype"])
    return Section("Use", [Paragraph(f"A plain `transformers` model; no dictionary is needed.\n\n{code}")])


def _student(note: Mapping[str, Any]) -> Section:
    teacher, kept, recipe = note["run"]["teacher"], note["layers"], note["recipe"]
    held_out = note.get("held_out")  # of the best step's student
    losses = [[name, f"{value:.4f}"] for name, value in (held_out or note["losses"]).items()]
    table = Table(["loss", "at the end"], losses, caption=f"Means over the last {_LAST} steps; terms before weights.")
    if held_out:
        table = Table(
            ["held-out loss", f"step {note['step']}"], losses, caption="Nats, means over all positions; T = 1."
        )
    return Section(
        "Student",
        [
            Paragraph(
                f"{len(kept)} of the {teacher['layers']} layers of `{teacher['name']}` (weights "
                f"`{note['teacher']}`): {', '.join(map(str, kept))}. The last {recipe['trainable']} were trained, "
                f"everything else is the teacher's. The objective was `{recipe['objective']}`."
            ),
            table,
        ],
    )


def _text(note: Mapping[str, Any]) -> Section:
    text = note["run"]["text"]
    rows = [[name, f"`{sha256}`"] for name, sha256 in text["sources"]]
    counts = f"{text['tokens']:,} tokens in {text['windows']:,} windows, read {note['recipe']['epochs']} times"
    blocks: list[Paragraph | Table] = [Paragraph(f"{counts}; sha256 of the windows `{note['text']}`.")]
    return Section("Text", [*blocks, *([Table(["source", "sha256"], rows, left=2)] if rows else [])])


def _dictionary(note: Mapping[str, Any]) -> Section | None:
    found = note["run"]["dictionary"]
    if found is None:
        return None
    rows = [
        [str(entry.get(name) or "") for name in ("name", "version", "licence")] for entry in found["relations from"]
    ]
    said = Paragraph(
        f"`{found['name']}@{found['version']}`, {found['senses']:,} senses, content `{found['content_hash']}`."
    )
    table = [Table(["relations from", "version", "licence"], rows, left=3)] if rows else []
    return Section("Sense dictionary", [said, *table])


def _settings(note: Mapping[str, Any]) -> Section:
    values = {**flatten(note["recipe"]), "dtype": note["dtype"], **note["run"]["versions"]}
    return Section("Settings", [Table(["name", "value"], [[name, str(value)] for name, value in values.items()], 2)])


def _origin(teacher: Teacher) -> tuple[str | None, str | None]:
    """The teacher's name on the hub, and its licence as its own card states it."""
    from huggingface_hub.repocard import metadata_load

    card = folder_of(teacher.name) / "README.md"
    try:
        stated = (metadata_load(card) or {}) if card.is_file() else {}
    except Exception:  # a stranger's file: what cannot be read states nothing
        stated = {}
    licence = stated.get("license")
    return None if Path(teacher.name).is_dir() else teacher.name, licence if isinstance(licence, str) else None


def _hub_sets(sources: Sequence[str]) -> list[str]:
    """Those of some sources of text that are data sets of the hub."""
    sets = [parse_stream(name) for name in sources if name.startswith(PREFIX)]
    return sorted({found.name for found in sets if "/" in found.name})
