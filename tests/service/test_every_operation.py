"""Every operation of the OpenAPI document, asked what it takes and what it refuses: no answer that is not described.

Schemathesis makes the requests and has all its checks look at the answers. `make test-api` asks more.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sqlalchemy.engine import URL

from conftest import copy_of_template
from rich_lexicon import insert_rich_lexicon
from running_service import Service, environment_of, running_service
from sensedict.cli import cli
from sensedict_server import lifecycle
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_server.lifecycle import Because
from sensedict_server.queries.id_maps import add_id_map
from sensedict_server.settings import Settings
from tiny_dictionary import make_draft

CONFIG = Path(__file__).parents[1] / "schemathesis.toml"
WHY = Because("ada", "a test")
PLANS = """
[weekly]
teacher = "/nowhere/teacher"
corpus = ["/nowhere/text"]
lexicon = "rich@1"
name = "planned"
version = "1"
k = 4
store = "/nowhere/store"
"""


@dataclass(frozen=True)
class Asked:
    """A service that asks for keys, over something of everything, and its keys by scope."""

    service: Service
    keys: dict[str, str | None]


@pytest.fixture(scope="module")
def asked(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    home = tmp_path_factory.mktemp("asked")
    (home / "plans.toml").write_text(PLANS)
    with copy_of_template(postgres, home) as made:
        settings = replace(made, keys="required", plans=home / "plans.toml")
        with opened(settings) as engine:
            lexicon, words, _ = insert_rich_lexicon(engine)
            draft = make_draft(lexicon, words)
            old = publish(engine, settings.files, draft, because=WHY)
            new = publish(engine, settings.files, replace(draft, version="2"), because=WHY)
            publish(engine, settings.files, replace(draft, version="3"), because=WHY, keep_draft=True)
            lifecycle.set_alias(engine, "tiny", "prod", "1", WHY)
            with engine.begin() as connection:
                add_id_map(connection, old.id, new.id, {}, _same_ids(old.senses))
        keys = {scope: _key(settings, scope) for scope in ("read", "admin")}
        with running_service(settings, home / "log") as service:
            yield Asked(service, {"none": None, **keys})


def _same_ids(senses: int) -> bytes:
    """The map of a dictionary to another that differs in nothing."""
    ids = np.arange(senses)
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({"old_id": ids, "new_id": ids, "distance": np.zeros(senses), "state": ["same"] * senses}), buffer
    )
    return buffer.getvalue()


def _key(settings: Settings, scope: str) -> str:
    command = ["keys", "create", scope, "--scope", scope, "--json"]
    done = CliRunner().invoke(cli, command, env=environment_of(settings))
    return str(json.loads(done.stdout)["key"])


def ask(asked: Asked, scope: str, *options: str) -> None:
    key = asked.keys[scope]
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", "--no-color", *options]
    if key is not None:
        command += ["--header", f"Authorization: Bearer {key}"]
    done = subprocess.run(
        [*command, f"{asked.service.url}/openapi.json"],
        env={**os.environ, "PYTHONPATH": str(CONFIG.parent)},
        cwd=asked.service.log.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: " in done.stdout
    assert "Traceback" not in asked.service.log.read_text()


def test_a_few_requests(asked: Asked) -> None:
    ask(asked, "admin", "--max-examples", "3", "--phases", "examples,fuzzing", "--seed", "1")


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["none", "read", "admin"])  # the last one deletes
def test_many_requests(asked: Asked, scope: str) -> None:
    ask(
        asked,
        scope,
        "--max-examples",
        "10" if scope == "none" else "60",
        "--phases",
        "examples,coverage,fuzzing,stateful",
    )
