"""Publishing: whole or not at all, in the database and as files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sqlalchemy import Engine

from sensedict import arrays
from sensedict.errors import Conflict
from sensedict.fileset import MANIFEST, VECTORS
from sensedict_server import files
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.settings import Settings


def test_vectors_come_back_bit_for_bit(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    dictionary = publish(database, settings.files, tiny_draft)
    tensors, _ = arrays.decode((settings.files / "tiny@1" / VECTORS).read_bytes())
    expected = np.concatenate([tiny_draft.tokens.vectors, tiny_draft.words.vectors])
    assert tensors["vectors"].tobytes() == expected.tobytes()
    assert dictionary.senses == len(expected)
    manifest = json.loads((settings.files / "tiny@1" / MANIFEST).read_text())
    assert manifest["identity"]["content_hash"] == dictionary.content_hash
    files.verify(settings.files / "tiny@1")


def test_a_taken_version_is_refused(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    publish(database, settings.files, tiny_draft)
    with pytest.raises(Conflict, match="tiny@1 is published already"):
        publish(database, settings.files, tiny_draft)
