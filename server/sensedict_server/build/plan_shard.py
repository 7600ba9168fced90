"""The first shard of a build: its plan, said and checked against the disk, and the tokens of its corpus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from sensedict.errors import Corrupt, InvalidInput
from sensedict_server.build.needs import check_disk, check_writable, describe, needs_of
from sensedict_server.build.plan import BuildPlan, BuildSettings
from sensedict_server.build.planning import make_plan
from sensedict_server.build.settings_check import check_teacher
from sensedict_server.build.store import Stored
from sensedict_server.build.windows import WindowLog, Windows
from sensedict_server.build.words import tokenize_words
from sensedict_server.build.workplace import Workplace
from sensedict_server.queries.lexicons import find_lexicon, relation_words

if TYPE_CHECKING:
    from sensedict_trainer.outline import Outline


def plan_shard(shard: str, workplace: Workplace) -> None:
    """Plan the build, say so, and write the tokens of the corpus to the store, a file for each shard of the harvest.

    Raises:
        InvalidInput: the corpus is empty, cannot be read, or is another than when the build was opened.
        ConfigurationError: the store cannot be written, or there is less disk than the build needs.
        Corrupt: the plan was lost, and the corpus is no longer the one that the build has read.
        LexiconNotFound: there is no such lexicon.
        Unavailable: the store or the database does not answer.
    """
    from sensedict_trainer.outline import load_outline

    started = time.monotonic()
    outline = load_outline(workplace.settings.teacher)
    folder = workplace.store.folder
    places = (Path(folder) if folder is not None else None, workplace.files_root)
    if folder is not None:
        check_writable(Path(folder))
    settings = workplace.settings
    written = sum(made.bytes for made in workplace.made.values())  # of a plan that was lost, what follows is there
    files: dict[str, Stored] = {}
    made = False
    with planned(workplace.engine, settings, outline, places, workplace.say, workplace.advance, written) as (plan, log):
        _check_corpus(workplace, plan)
        try:
            for name, windows in _cut(plan, log):
                files[name] = workplace.store.write(name.replace("harvest", "tokens", 1), windows.to_tensors())
                workplace.advance(0)
            facts = plan.facts() | {"token_files": {name: vars(file) for name, file in files.items()}}
            made = workplace.add(shard, plan.to_tensors(), plan.tokens, time.monotonic() - started, facts)
            if made:  # a plan that was lost may have been cut otherwise
                workplace.drop_stale()
        finally:
            for file in () if made else files.values():
                workplace.store.remove(file.file)


@contextmanager
def planned(
    engine: Engine,
    settings: BuildSettings,
    outline: Outline,
    places: tuple[Path | None, Path],
    say: Callable[[str], object],
    advance: Callable[[int], object] = lambda tokens: None,
    written: int = 0,
) -> Iterator[tuple[BuildPlan, WindowLog]]:
    """Gives the plan, which was said and fits on the disk, and the corpus; nothing is written.

    Args:
        places: the folder of the store, None where it is no folder of this machine, and that of the file sets.
        advance: told the number of tokens read, often; what it raises ends the planning.
        written: bytes that the build has in the store already.

    Raises:
        InvalidInput: a corpus that is empty or cannot be read, a state point or window that the teacher has not.
        ConfigurationError: there is less disk than the build needs; names both numbers.
    """
    from sensedict_trainer.text import iter_windows
    from sensedict_trainer.text_sources import read_documents

    check_teacher(settings, outline)
    with engine.connect() as connection:
        lexicon = find_lexicon(connection, settings.lexicon)
        words = relation_words(connection, lexicon.id)
    store, files_root = places
    with WindowLog(settings.memory // 8, files_root if files_root.is_dir() else None) as log:
        documents = read_documents(settings.corpus)
        windows = iter_windows(documents, outline.tokenizer, settings.window, settings.tokens)
        log.fill(windows, settings.seed, advance)
        plan = make_plan(log, settings, outline.vocabulary_size, outline.dim, advance)
        needs = needs_of(plan, settings, outline, tokenize_words(outline.tokenizer, [text for _, text in words]))
        for line in describe(plan, needs, settings):
            say(line)
        file_set = files_root / f"{settings.name}@{settings.version}"
        left = {} if store is None else {store: max(0, needs.store - written)}
        check_disk(left | {file_set: 2 * needs.file_set})
        yield plan, log


def _check_corpus(workplace: Workplace, plan: BuildPlan) -> None:
    """Let pass a corpus that is the one which the build was opened with, and which shards are made of."""
    from sensedict_trainer.text_sources import sources_hash

    content = workplace.build.content
    if content is not None and sources_hash(workplace.settings.corpus) != content["corpus"]:
        raise InvalidInput(
            f"the corpus of {workplace.build.ref} was changed after the build had begun: start it again, as another "
            "version or when this one has ended"
        )
    for name, made in workplace.made.items():
        if made.facts.get("corpus_hash", plan.corpus_hash) != plan.corpus_hash:
            raise Corrupt(
                f"the plan of {workplace.build.ref} was lost, and its corpus gives other tokens now than when {name} "
                "was made: start it again with --fresh"
            )


def _cut(plan: BuildPlan, log: WindowLog) -> Iterator[tuple[str, Windows]]:
    """The windows of each shard of the harvest."""
    for name, part in plan.harvest.items():
        yield name, log.windows(part.first_window, part.first_window + part.windows)
