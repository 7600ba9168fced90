"""Snapshots that earlier releases wrote: every later one opens, verifies, imports and answers from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from kept_snapshot import DATA
from moved_snapshot import import_from
from sensedict.snapshot import Snapshot
from sensedict_server import files
from sensedict_server.queries.words import Scope, find_word, glosses_of
from sensedict_server.settings import Settings
from sensedict_server.snapshots.check import check
from sensedict_server.snapshots.staging import pieces_of, receive
from tiny_dictionary import TOKENS, WORDS, make_draft

KEPT = sorted(DATA.glob("snapshot-*.tar"))


def test_there_is_one() -> None:
    assert KEPT
    assert all(path.stat().st_size < 200_000 for path in KEPT)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_snapshot(path: Path, database: Engine, settings: Settings, tmp_path: Path) -> None:
    staged = receive(pieces_of(path), tmp_path)
    check(staged)
    vectors = make_draft(0, dict.fromkeys(WORDS, 0)).tokens.vectors
    with Snapshot.open(tmp_path, verify=True) as opened:
        sets = opened.candidate_sets(np.arange(len(TOKENS)))
        assert sets.own_count.tolist() == [count for _, count in TOKENS]
        assert opened.get_senses(np.arange(len(vectors))).tobytes() == vectors.tobytes()
    done = import_from(path, database, settings)
    assert (done.state, done.lexicon, done.aliases) == ("imported", "loaded", ("latest", "prod"))
    with database.connect() as connection:
        scope = Scope(done.dictionary.id, done.dictionary.lexicon_id)
        word = find_word(connection, scope, "ice cream")
        assert word is not None
        assert (word.token_ids, word.sense_count) == ((13, 14), 3)
        assert [gloss.text for gloss in glosses_of(connection, scope.lexicon_id, "cold")] == [
            "lack of heat",
            "low in temperature",
            "the opposite of hot",
        ]
    with Snapshot.open(files.folder(settings.files, done.dictionary.ref), verify=True) as imported:
        assert imported.manifest == staged.manifest
