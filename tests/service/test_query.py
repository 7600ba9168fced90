"""`sensedict query`: which dictionary is asked, a service or a file set, and what is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from conftest import Published
from running_service import Service, running_service
from sensedict import arrays
from sensedict.cli import cli
from sensedict.client import SenseClient
from sensedict.errors import DictionaryNotFound, InvalidInput, NotInSnapshot
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.settings import Settings
from tiny_dictionary import D

COMMANDS = [
    "dictionaries show tiny@1",
    "senses hot --neighbours 2",
    "senses HOT",
    "words h --limit 3",
    "token 1",
    "sense 3",
    "neighbours 3 --limit 4",
    "nearest {vectors} -p 2",
    "nearest {tensors}",
    "relations cold --type synonym --limit 2",
    "relations hot --depth 2",
    "path hot glad",
    "path happy kind",
    "explain {relation}",
]


def query(service: Service, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["query", "--server", service.url, *arguments])
    if done.exception is not None:
        raise done.exception
    assert done.exit_code == 0
    return done.output


def test_the_dictionary_that_is_asked(database: Engine, settings: Settings, tiny_draft: Draft, tmp_path: Path) -> None:
    """The only one of the service, whatever its versions; one of several must be named."""
    with running_service(settings, tmp_path / "log") as service:
        with pytest.raises(DictionaryNotFound, match="the service has no dictionary yet: `sensedict build`"):
            query(service, "senses", "hot")
        for version in ("1", "2"):
            publish(database, settings.files, replace(tiny_draft, version=version))
        assert query(service, "relations", "hot") == query(service, "--dictionary", "tiny@2", "relations", "hot")
        publish(database, settings.files, replace(tiny_draft, name="other"))
        message = "the service has the dictionaries other, tiny: choose one with --dictionary"
        with pytest.raises(InvalidInput, match=message):
            query(service, "relations", "hot")
        assert "tiny@2" in query(service, "dictionaries")
        assert "cold" in query(service, "--dictionary", "other", "relations", "hot")


def test_no_relations(service: Service) -> None:
    assert query(service, "relations", "Paris", "--type", "antonym") == "none of type 'antonym'\n"
    assert query(service, "relations", "Paris", "--type", "antonym", "--json") == "[]\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_set_is_asked_as_a_service(service: Service, published: Published, command: str, tmp_path: Path) -> None:
    vectors = np.arange(2 * D, dtype=np.float32).reshape(2, D)
    np.save(tmp_path / "vectors.npy", vectors)
    tensors = {"vectors": vectors, "tokens": np.array([1, 4000], np.int64)}  # the second is no token
    (tmp_path / "vectors.safetensors").write_bytes(arrays.encode(tensors))
    with SenseClient(service.url, "tiny") as client:
        relation = next(one.id for one in client.relations("kind") if one.parent is not None)
    files = {"vectors": tmp_path / "vectors.npy", "tensors": tmp_path / "vectors.safetensors"}
    words = [word.format(**files, relation=relation) for word in command.split()]
    for more in ([], ["--json"]):
        done = CliRunner().invoke(cli, ["query", "--snapshot", str(published.folder), *words, *more])
        assert done.exit_code == 0, done.output
        assert len(done.stdout) > 20
        asked = CliRunner().invoke(cli, ["query", "--server", service.url, *words, *more])
        known = [line for line in asked.stdout.splitlines() if "aliases" not in line and "latest" not in line]
        held = [line for line in done.stdout.splitlines() if '"aliases": []' not in line]
        if more and command.startswith("dictionaries"):
            known.remove("  ],")  # the end of the aliases
        assert held == known


def test_commands_that_only_a_service_answers(published: Published, tmp_path: Path) -> None:
    for words in (["jobs"], ["job", "1"], ["id-map", str(tmp_path / "map"), "--to", "tiny@2"], ["history"]):
        done = CliRunner().invoke(cli, ["query", "--snapshot", str(published.folder), *words])
        assert isinstance(done.exception, NotInSnapshot)
    done = CliRunner().invoke(cli, ["query", "--snapshot", str(published.folder), "nearest", __file__])
    assert isinstance(done.exception, InvalidInput)
    assert "is no array of numpy" in done.exception.detail


def test_words_of_no_beginning_and_what_was_done(service: Service) -> None:
    assert query(service, "words", "zzz") == "none\n"
    (line,) = query(service, "history").splitlines()[1:2]
    assert line.split()[2] == "publish"
    assert json.loads(query(service, "history", "--json"))[0]["action"] == "publish"


def test_what_a_dictionary_is(service: Service) -> None:
    shown = query(service, "dictionaries", "show")
    assert shown.startswith("dictionary     tiny@1\n")
    assert "setting seed   7\n" in shown
    assert query(service, "--dictionary", "tiny@latest", "dictionaries", "show") == shown
    assert json.loads(query(service, "dictionaries", "--json"))[0]["version"] == "1"


def test_completion_knows_the_commands() -> None:
    """As docs/client.md says it is switched on."""
    asked = {"_SENSEDICT_COMPLETE": "bash_complete", "COMP_WORDS": "sensedict query ", "COMP_CWORD": "2"}
    program = "import sys; sys.argv = ['sensedict']; from sensedict.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, **asked}, capture_output=True, text=True)
    assert {"plain,senses", "plain,nearest", "plain,dictionaries"} <= set(done.stdout.split())
