"""A build from text and a teacher to a published dictionary, as one function that reads like the paper's §3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from sensedict.errors import Conflict, InvalidInput
from sensedict.fileset import hash_file
from sensedict.paths import write_whole
from sensedict_server.build.centroids import run_centroids
from sensedict_server.build.check import check_name, check_types, check_version
from sensedict_server.build.contents import Draft
from sensedict_server.build.harvest import run_harvest
from sensedict_server.build.plan import BuildSettings, Plan, make_plan
from sensedict_server.build.plan_shard import planned
from sensedict_server.build.publish import publish
from sensedict_server.build.words import (
    WITHOUT_SENSES,
    compose_words,
    reasons_in_words,
    without_senses,
)
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary
from sensedict_server.queries.lexicons import Lexicon, count_relations, find_lexicon

if TYPE_CHECKING:
    from sensedict_trainer.outline import Outline
    from sensedict_trainer.teacher import Teacher

# What decides words and relations, and nothing of what the work folder keeps.
_NOT_IN_PARTS = ("lexicon", "synonym_types", "antonym_types")
STATE_POINT = "final_norm"
MOST_SEED = 2**31 - 1
# Where a build ran and what it is called do not decide what is in it.
_NOT_CONTENT = ("name", "version", "device", "batch_size", "memory")


def build_dictionary(
    engine: Engine,
    files_root: Path,
    settings: BuildSettings,
    work_folder: Path,
    fresh: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> tuple[Dictionary, bool]:
    """Build and publish a dictionary; what an interrupted run finished is used again.

    Args:
        work_folder: keeps the finished parts of the stages.
        fresh: begin anew there.
        say: told a line a stage.

    Returns:
        The dictionary, and whether it was made now: one that is there with the same settings is given as it is.

    Raises:
        Conflict: the name and version are taken by a build with other settings; names what differs.
        ConfigurationError: there is less disk than the build needs.
        LexiconNotFound, InvalidInput, ConfigurationError, NotFinite: see the stages.
    """
    from sensedict_trainer.outline import outline_of
    from sensedict_trainer.teacher import load_teacher
    from sensedict_trainer.work import WorkFolder

    lexicon = _checked(engine, settings)
    teacher = load_teacher(settings.teacher, settings.dtype, settings.device)
    say(teacher.summary)
    content = _content(settings, teacher)
    there = _published(engine, settings, content)
    if there is not None:
        return there, False
    plan = _planned(engine, files_root, settings, work_folder, lexicon, outline_of(teacher), say)
    stages = {name: value for name, value in content.items() if name not in _NOT_IN_PARTS}
    with WorkFolder(work_folder, {**stages, "corpus_tokens_hash": plan.corpus_hash}, fresh) as work:
        shards = run_harvest(teacher, plan, settings, work, say)
        tokens = run_centroids(teacher.tokenizer, teacher.vocabulary_size, shards, plan, settings, work)
        say(f"senses: {len(tokens.vectors):,} of {int((tokens.offsets[1:] > tokens.offsets[:-1]).sum()):,} tokens")
        words = compose_words(engine, lexicon.id, teacher.tokenizer, tokens)
        write_whole(work_folder / WITHOUT_SENSES, without_senses(engine, lexicon.id, words))
    say(f"words: {len(words.word_ids):,} of {settings.lexicon}, {sum(r is None for r in words.reasons):,} with senses")
    for line in reasons_in_words(words):
        say(line)
    draft = Draft(
        name=settings.name,
        version=settings.version,
        lexicon_id=lexicon.id,
        teacher=settings.teacher,
        teacher_hash=teacher.fingerprint,
        tokenizer_hash=teacher.tokenizer_hash,
        state_point=STATE_POINT,
        key_policy=settings.key,
        k=settings.k,
        tokens=tokens,
        words=words,
        settings={
            **_types(settings),
            "build": content,
        },
    )
    try:
        return publish(engine, files_root, draft), True
    except Conflict:  # another process published it meanwhile; from the same settings it is the same
        there = _published(engine, settings, content)
        if there is None:
            raise
        return there, False


def plan_build(
    engine: Engine, files_root: Path, settings: BuildSettings, work_folder: Path, say: Callable[[str], object]
) -> None:
    """Say what a build would do and need; the teacher's weights are not read, and nothing is written.

    Raises:
        LexiconNotFound, InvalidInput, ConfigurationError: as the build would; there is less disk than it needs.
    """
    from sensedict_trainer.outline import load_outline

    lexicon = _checked(engine, settings)
    outline = load_outline(settings.teacher)
    say(outline.summary)
    _planned(engine, files_root, settings, work_folder, lexicon, outline, say)
    say("time: run without --dry-run to measure")


def _checked(engine: Engine, settings: BuildSettings) -> Lexicon:
    """The lexicon, once all is known to be right that costs little to look at."""
    from sensedict_trainer.text import text_files

    check_settings(settings)
    text_files([Path(path) for path in settings.corpus])
    with engine.connect() as connection:
        lexicon = find_lexicon(connection, settings.lexicon)
        check_types(_types(settings), {count.type for count in count_relations(connection, lexicon.id)})
    return lexicon


def _planned(
    engine: Engine,
    files_root: Path,
    settings: BuildSettings,
    work_folder: Path,
    lexicon: Lexicon,
    outline: Outline,
    say: Callable[[str], object],
) -> Plan:
    """The plan, which was said and fits on the disk."""
    with planned(engine, settings, outline, (work_folder, files_root), say):
        return make_plan(settings, outline.tokenizer, outline.vocabulary_size)


def check_settings(settings: BuildSettings) -> None:
    """Let pass settings that a build can be made with, before anything is loaded.

    Raises:
        InvalidInput: naming the setting and what it may be.
    """
    check_name("dictionary name", settings.name)
    check_version(settings.version)
    least = {"k": 1, "cap": 1, "window": 8, "contexts": 0, "batch_size": 1, "tokens": 8, "seed": 0}
    for name, smallest in least.items():
        value = getattr(settings, name)
        if value is not None and value < smallest:
            raise InvalidInput(f"{name} is {value}: it is at least {smallest}")
    if settings.seed > MOST_SEED:
        raise InvalidInput(f"seed is {settings.seed}: it is at most {MOST_SEED}")
    if settings.cap < settings.k:
        raise InvalidInput(f"cap is {settings.cap} and k {settings.k}: k senses need at least k hidden states")


def _content(settings: BuildSettings, teacher: Teacher) -> dict[str, Any]:
    """What decides the dictionary's content, as JSON: equal content, equal dictionary."""
    plain: dict[str, Any] = {name: value for name, value in asdict(settings).items() if name not in _NOT_CONTENT}
    return {
        **plain,
        "teacher": teacher.fingerprint,
        "tokenizer": teacher.tokenizer_hash,
        "corpus": [[path.name, _file_hash(path)] for path in map(Path, settings.corpus)],
    }


def _types(settings: BuildSettings) -> dict[str, list[str]]:
    return {"synonym_types": list(settings.synonym_types), "antonym_types": list(settings.antonym_types)}


def _file_hash(path: Path) -> str:
    """sha256 over a file, or over the names and hashes of a folder's files; an absent one is the reader's to report."""
    if path.is_file():
        return hash_file(path).sha256
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path)}\x00{_file_hash(file)}\x00".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _published(engine: Engine, settings: BuildSettings, content: Mapping[str, Any]) -> Dictionary | None:
    from sensedict_trainer.work import differences

    with engine.connect() as connection:
        there = find_dictionary(connection, settings.name, settings.version)
    if there is None:
        return None
    differing = differences(there.settings.get("build", {}), content)
    if differing:
        raise Conflict(f"{there.ref} is published already from other settings ({differing}): choose another version")
    return there
