"""Writes a snapshot that is kept: `python tests/kept_snapshot.py` once a release, from words and numbers made up here.

Every later release reads it (`tests/service/test_kept_snapshots.py`), so a file that is in `tests/data` never changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rich_lexicon import insert_rich_lexicon
from sensedict_server import embedded, schema
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.lifecycle import Because, set_alias
from sensedict_server.settings import Settings
from tiny_dictionary import make_draft

DATA = Path(__file__).parent / "data"


def main() -> None:
    """Publish the tiny dictionary in a database of its own, and export it by command."""
    target = DATA / f"snapshot-{version('sensedict')}.tar"
    home = Path(tempfile.mkdtemp(prefix="sensedict-kept-"))
    home.chmod(0o755)
    settings = Settings(home=home)
    with opened(settings) as engine:
        schema.migrate(engine)
        lexicon, ids, _ = insert_rich_lexicon(engine)
        publish(engine, settings.files, make_draft(lexicon, ids))
        set_alias(engine, "tiny", "prod", "1", Because("kept_snapshot.py", "a snapshot has aliases"))
        environment = {**os.environ, "SENSEDICT_HOME": str(home)}
        run = "from sensedict.cli import main; main()"
        command = [sys.executable, "-c", run, "snapshot", "export", "tiny@1", str(target)]
        subprocess.run(command, check=True, env=environment)
    embedded.stop(settings.embedded)
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
