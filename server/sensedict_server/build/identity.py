"""What decides a dictionary's content: equal identity, equal dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from sensedict_server.queries.builds import builds_of, running_build
from sensedict_server.queries.dictionaries import find_dictionary

if TYPE_CHECKING:
    from sensedict_server.build.plan import BuildSettings

# Where a build runs, what it is called, who is to see it and what it reports do not decide what is in it. `batch_size`
# does, by rounding, and so does `memory`: it decides which windows and tokens each shard holds, and with that the order
# of sums.
NOT_CONTENT = ("name", "version", "device", "training_text", "draft")
# What is read when a dictionary is put together, and by nothing before.
NOT_IN_SHARDS = ("lexicon", "synonym_types", "antonym_types")


def known_threads(connection: Connection, name: str, version: str) -> int | None:
    """The threads of the build of that dictionary, running, published or stopped; None where there is none.

    They are content, and another machine has other cores: who names no number means the one that was begun with.
    """
    running = running_build(connection, name, version)
    dictionary = find_dictionary(connection, name, version, drafts=True)
    settings = [build.settings for build in builds_of(connection, name, version)]
    if dictionary is not None:
        settings.insert(0, dictionary.settings.get("build", {}))
    if running is not None:
        settings.insert(0, running.settings)
    return next((int(found["threads"]) for found in settings if "threads" in found), None)


def content_of(settings: BuildSettings) -> dict[str, Any]:
    """The settings but for `NOT_CONTENT`, with hashes in place of names of teacher and text; JSON values.

    Raises:
        ConfigurationError: there is no such teacher.
        InvalidInput: there is no such text.
    """
    from sensedict_trainer.outline import load_outline
    from sensedict_trainer.teacher import fingerprint_of, tokenizer_hash
    from sensedict_trainer.text_sources import sources_hash

    plain = {name: value for name, value in settings.to_json().items() if name not in NOT_CONTENT}
    return {
        **plain,
        "tokenizer": tokenizer_hash(load_outline(settings.teacher).tokenizer),
        "teacher": fingerprint_of(settings.teacher),
        "corpus": sources_hash(settings.corpus),
    }
