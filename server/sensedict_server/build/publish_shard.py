"""The last shard of a build: its senses and words become a published dictionary."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from sensedict.errors import Conflict, Mismatch
from sensedict.fileset import MANIFEST, hash_file
from sensedict.paths import write_whole
from sensedict_server import files
from sensedict_server.build.assemble import Assembled, assemble, corpus_windows
from sensedict_server.build.contents import Draft, WordSenses
from sensedict_server.build.needs import by_number
from sensedict_server.build.publish import publish
from sensedict_server.build.words import WITHOUT_SENSES, compose_words, reasons_in_words, without_senses
from sensedict_server.build.workplace import Workplace
from sensedict_server.lifecycle import Because, user_name
from sensedict_server.queries.builds import Shard
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary
from sensedict_server.queries.lexicons import find_lexicon
from sensedict_server.queries.versions import find_tombstone

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sensedict_trainer.text import TokenWindow

_TAKEN = {"published": "published already", "draft": "a draft already"}
REPORT = "build_report"  # in a dictionary's settings


def publish_shard(shard: str, workplace: Workplace) -> None:
    """Publish the build's dictionary, or find that it is; the manifest gets its name, and the hash of its files' own.

    Raises:
        Conflict: the name and version are taken by a dictionary of other settings; names what differs.
        LexiconNotFound: the lexicon was withdrawn meanwhile.
        Mismatch: the teacher here has another tokenizer than the build's.
        LostShard: a shard is damaged; it was taken out of the manifest.
        ConfigurationError: the disk of the file sets is full.
        Unavailable: the store or the database does not answer.
    """
    started = time.monotonic()
    build = workplace.build
    dictionary = published(workplace.engine, build.name, build.version, build.content or {})
    if dictionary is None:
        dictionary = _publish(workplace)
    place = files.ensure(workplace.engine, workplace.files_root, dictionary)
    entry = hash_file(place / MANIFEST)
    seconds = time.monotonic() - started
    workplace.manifest.add(Shard(shard, dictionary.ref, entry.bytes, entry.sha256, 1, seconds, workplace.worker))
    workplace.advance(1)


def published(engine: Engine, name: str, version: str, content: Mapping[str, Any]) -> Dictionary | None:
    """The dictionary of that name and version, a draft too, from settings of that content.

    Raises:
        Conflict: it was made from other settings; names what differs. Or it was deleted.
    """
    from sensedict_trainer.work import differences

    with engine.connect() as connection:
        there = find_dictionary(connection, name, version, drafts=True)
        tombstone = find_tombstone(connection, "dictionary", name, version)
    if tombstone is not None:
        raise Conflict(f"{tombstone.told()}; a version never comes back")
    if there is None:
        return None
    differing = differences(there.settings.get("build", {}), content)
    if differing:
        raise Conflict(
            f"{there.ref} is {_TAKEN[there.state]} from other settings ({differing}): choose another version"
        )
    return there


def _publish(workplace: Workplace) -> Dictionary:
    from sensedict_trainer.outline import load_outline
    from sensedict_trainer.teacher import tokenizer_hash

    build, settings, engine = workplace.build, workplace.settings, workplace.engine
    content = dict(build.content or {})
    outline = load_outline(settings.teacher)
    if tokenizer_hash(outline.tokenizer) != content["tokenizer"]:
        raise Mismatch(f"the tokenizer of {settings.teacher} is another here than when the build began: start it anew")
    with engine.connect() as connection:
        lexicon = find_lexicon(connection, settings.lexicon)
    found = assemble(workplace, outline.tokenizer, outline.vocabulary_size)
    workplace.say(f"senses: {len(found.tokens.vectors):,} of {int((found.clustered > 0).sum()):,} tokens")

    def tick(_done: int) -> None:
        workplace.advance(0)

    words = compose_words(engine, lexicon.id, outline.tokenizer, found.tokens, workplace.files_root, tick)
    _tell_words(workplace, lexicon.id, words)
    draft = Draft(
        name=build.name,
        version=build.version,
        lexicon_id=lexicon.id,
        teacher=settings.teacher,
        teacher_hash=content["teacher"],
        tokenizer_hash=content["tokenizer"],
        state_point=settings.state_point,
        key_policy=settings.key,
        k=settings.k if settings.allocation == "fixed" else settings.k_most,
        tokens=found.tokens,
        words=words,
        settings={
            "synonym_types": list(settings.synonym_types),
            "antonym_types": list(settings.antonym_types),
            "build": content,
            REPORT: _report(workplace, found, outline.tokenizer),
        },
    )
    try:
        because = Because(user_name(), f"built by job {build.id}")
        return publish(engine, workplace.files_root, draft, tick, because, keep_draft=settings.draft)
    except Conflict:  # another worker published it meanwhile; from the same settings it is the same
        there = published(engine, build.name, build.version, content)
        if there is None:
            raise
        return there


def _tell_words(workplace: Workplace, lexicon_id: int, words: WordSenses) -> None:
    """Say how many words have senses; which have none is listed in the store, where that is a folder."""
    with_senses = sum(reason is None for reason in words.reasons)
    workplace.say(f"words: {len(words.word_ids):,} of {workplace.settings.lexicon}, {with_senses:,} with senses")
    for line in reasons_in_words(words):
        workplace.say(line)
    if workplace.store.folder is not None:
        table = without_senses(workplace.engine, lexicon_id, words)
        write_whole(Path(workplace.store.folder) / WITHOUT_SENSES, table)


def _report(workplace: Workplace, found: Assembled, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What there is to say of the build, as JSON; lines of it are said."""
    settings = workplace.settings
    made = workplace.made
    collapsed = sum(int(shard.facts["collapsed"]) for name, shard in made.items() if name.startswith("cluster/"))
    if collapsed:
        workplace.say(f"tokens with fewer senses than they have states, because states are equal: {collapsed:,}")
    seconds: dict[str, float] = defaultdict(float)
    for name, shard in made.items():
        seconds[name.partition("/")[0]] += shard.seconds
    most = settings.first if settings.mode == "streaming" else settings.cap
    return {
        "mode": settings.mode,
        "workers": len({shard.worker for shard in made.values()}),
        "seconds": {stage: round(some, 1) for stage, some in seconds.items()},
        "keys_by_states": [list(row) for row in by_number(found.clustered, most)],
        "collapsed_tokens": collapsed,
        "own_states": _own_states(workplace, found, tokenizer),
    }


def _own_states(workplace: Workplace, found: Assembled, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any] | None:
    """How many training positions would find their own vector; None for senses that no student is trained with."""
    from sensedict_trainer.leak import count_leaks
    from sensedict_trainer.state_points import FINAL_NORM
    from sensedict_trainer.text_sources import sources_hash

    settings = workplace.settings
    if settings.state_point != str(FINAL_NORM):
        return None
    leaks = count_leaks(_training_windows(workplace, tokenizer), found.lone, found.tokens.occurrences)
    text = " ".join(settings.training_text) or "the corpus"
    workplace.say(f"training on {text}: {leaks.describe()[0]}")
    return {
        "text": sources_hash(settings.training_text) or (workplace.build.content or {})["corpus"],
        "positions": int(leaks.positions.sum()),
        "own": int(leaks.leaking.sum()),
        "by_occurrences": [leaks.positions.tolist(), leaks.leaking.tolist()],
    }


def _training_windows(workplace: Workplace, tokenizer: PreTrainedTokenizerBase) -> Iterator[TokenWindow]:
    """The windows of the text that a student will be trained on."""
    from sensedict_trainer.text import iter_windows
    from sensedict_trainer.text_sources import read_documents

    settings = workplace.settings
    if not settings.training_text:
        for windows in corpus_windows(workplace):
            yield from windows.split()
        return
    for window in iter_windows(read_documents(settings.training_text), tokenizer, settings.window):
        workplace.advance(0)
        yield window
