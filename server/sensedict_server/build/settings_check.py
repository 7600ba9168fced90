"""Settings of a build are looked at before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine

from sensedict.errors import InvalidInput
from sensedict_server.build.check import check_name, check_state_point, check_types, check_version
from sensedict_server.build.needs import size
from sensedict_server.build.plan import BuildSettings
from sensedict_server.queries.lexicons import count_relations, find_lexicon, split_ref

if TYPE_CHECKING:
    from sensedict_trainer.outline import Outline

MOST_SEED = 2**31 - 1
_LEAST = {
    "k": 1,
    "cap": 1,
    "window": 8,
    "contexts": 0,
    "batch_size": 1,
    "tokens": 8,
    "seed": 0,
    "first": 1,
    "k_most": 1,
    "budget": 1,
    "threads": 1,
    "memory": 10_000_000,
}
# Settings that only another one makes use of: its name and value.
USED_WITH = {
    "k_most": ("allocation", "adaptive"),
    "budget": ("allocation", "adaptive"),
    "first": ("mode", "streaming"),
}


def check_settings(settings: BuildSettings) -> None:
    """Let pass settings that a build can be made with.

    Raises:
        InvalidInput: naming the setting and what it may be.
    """
    check_name("dictionary name", settings.name)
    check_version(settings.version)
    check_state_point(settings.state_point)
    split_ref(settings.lexicon)
    for name, smallest in _LEAST.items():
        value = getattr(settings, name)
        if value is not None and value < smallest:
            shown = size if name == "memory" else str
            raise InvalidInput(f"{name} is {shown(value)}: it is at least {shown(smallest)}")
    if settings.seed > MOST_SEED:
        raise InvalidInput(f"seed is {settings.seed}: it is at most {MOST_SEED}")
    if settings.mode == "streaming" and settings.key == "predicted":
        raise InvalidInput("mode is streaming and key predicted: which states come first is known for other keys alone")
    if settings.mode == "streaming" and settings.allocation == "adaptive":
        raise InvalidInput("mode is streaming and allocation adaptive: numbers of senses are chosen in mode exact")
    clustered = "first" if settings.mode == "streaming" else "cap"
    most = getattr(settings, clustered)
    if most < settings.k:
        raise InvalidInput(f"{clustered} is {most} and k {settings.k}: k senses need at least k hidden states")
    if settings.allocation == "adaptive" and settings.k_most < settings.k:
        raise InvalidInput(f"k_most is {settings.k_most} and k {settings.k}: a token may have k senses or more")


def check_teacher(settings: BuildSettings, outline: Outline) -> None:
    """Let pass settings whose state point and window the teacher has.

    Raises:
        InvalidInput: it has no such layer; or the window is longer than what it can read.
    """
    from sensedict_trainer.state_points import parse_state_point

    parse_state_point(settings.state_point).check(outline.layers, settings.key)
    if outline.context is not None and settings.window > outline.context:
        raise InvalidInput(
            f"window is {settings.window}, and {settings.teacher} reads {outline.context} tokens at most: its states "
            f"beyond mean nothing; use --window {outline.context} or less"
        )


def check_sources_of(engine: Engine, settings: BuildSettings) -> None:
    """Let pass settings whose text can be opened, and whose lexicon has relations of the types named.

    Raises:
        InvalidInput: as `check_settings`, a text that cannot be read, types that the lexicon does not have.
        LexiconNotFound: there is no such lexicon.
    """
    from sensedict_trainer.text_sources import check_sources

    check_settings(settings)
    check_sources([*settings.corpus, *settings.training_text])
    with engine.connect() as connection:
        lexicon = find_lexicon(connection, settings.lexicon)
        types = {"synonym_types": list(settings.synonym_types), "antonym_types": list(settings.antonym_types)}
        check_types(types, {count.type for count in count_relations(connection, lexicon.id)})
