"""`sensedict query` where no dictionary is named, and where nothing is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from running_service import Service, running_service
from sensedict.cli import cli
from sensedict.errors import DictionaryNotFound, InvalidInput
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.settings import Settings


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
