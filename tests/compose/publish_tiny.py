"""Publishes `tiny@1` into the database of SENSEDICT_DATABASE_URL, for `run.sh`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script: pytest's settings do not hold here

from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.settings import Settings
from tiny_dictionary import insert_lexicon, make_draft

if __name__ == "__main__":
    settings = Settings.from_environment()
    with opened(settings) as database:
        dictionary = publish(database, settings.files, make_draft(*insert_lexicon(database)))
    print(f"published {dictionary.ref}")
