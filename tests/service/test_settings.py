"""The environment, read in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensedict.errors import ConfigurationError
from sensedict_server.settings import Settings


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    environment = {
        "SENSEDICT_HOME": str(file),
        "SENSEDICT_DATABASE_URL": "mysql://user:secret@host/db",
        "SENSEDICT_POOL_SIZE": "none",
        "SENSEDICT_PLANS": str(tmp_path),
    }
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment(environment)
    for said in (
        f"SENSEDICT_HOME {str(file)!r} is not a folder",
        "only PostgreSQL is supported",
        "is 'none': give",
        f"SENSEDICT_PLANS {str(tmp_path)!r} is not a file",
    ):
        assert said in caught.value.detail
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d"])
def test_the_usual_ways_to_name_a_server(tmp_path: Path, url: str) -> None:
    found = Settings.from_environment({"SENSEDICT_HOME": str(tmp_path), "SENSEDICT_DATABASE_URL": url})
    assert found.database_url is not None
    assert found.database_url.render_as_string() == "postgresql+psycopg://u@h/d"
    assert found.files == tmp_path / "files"


def test_no_server_means_the_embedded_one(tmp_path: Path) -> None:
    found = Settings.from_environment({"SENSEDICT_HOME": str(tmp_path)})
    assert found.database_url is None
    assert found.embedded == tmp_path / "postgres"
    assert found.pool_size == 10


@pytest.mark.parametrize("url", ["nonsense", "postgresql://h:port/d"])
def test_a_url_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="SENSEDICT_DATABASE_URL is not a URL: write postgresql://"):
        Settings.from_environment({"SENSEDICT_HOME": str(tmp_path), "SENSEDICT_DATABASE_URL": url})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SENSEDICT_DATABASE_UR", "SENSEDICT_DATABASE_URL"),
        ("SENSEDICT_HOEM", "SENSEDICT_HOME"),
        ("SENSEDICT_POOLSIZE", "SENSEDICT_POOL_SIZE"),
        ("SENSEDICT_home", "SENSEDICT_HOME"),
        ("SENSEDICT_DATABASE_PASSWORD", "SENSEDICT_DATABASE_PASSWORD_FILE"),  # compose's, once
    ],
)
def test_a_misspelt_name(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is not known: write {meant}, or unset it"):
        Settings.from_environment({"SENSEDICT_HOME": str(tmp_path), name: "x"})


@pytest.mark.parametrize("name", ["TEST_DATA", "PORT", "DATABASE_PORT", "DATABASE_CPUS", "COLOUR"])
def test_names_of_others(tmp_path: Path, name: str) -> None:
    Settings.from_environment({"SENSEDICT_HOME": str(tmp_path), f"SENSEDICT_{name}": "x"})


def test_a_password_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s/e@c:r#t\n")
    environment = {
        "SENSEDICT_HOME": str(tmp_path),
        "SENSEDICT_DATABASE_URL": "postgresql://u@h/d",
        "SENSEDICT_DATABASE_PASSWORD_FILE": str(file),
    }
    url = Settings.from_environment(environment).database_url
    assert url is not None
    assert url.password == "s/e@c:r#t"
    own = Settings.from_environment({**environment, "SENSEDICT_DATABASE_URL": "postgresql://u:own@h/d"}).database_url
    assert own is not None
    assert own.password == "own"  # what a process that answers is given
    for content, says in (("\n", "is empty: write"), (None, "cannot be read: No such file")):
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(ConfigurationError, match=says):
            Settings.from_environment(environment)
    del environment["SENSEDICT_DATABASE_URL"]
    with pytest.raises(ConfigurationError, match="PASSWORD_FILE is set without SENSEDICT_DATABASE_URL: set both or"):
        Settings.from_environment(environment)


def test_switches_of_safety(tmp_path: Path) -> None:
    found = Settings.from_environment({"SENSEDICT_HOME": str(tmp_path), "SENSEDICT_CONTEXTS": "off"})
    assert (found.keys, found.contexts, found.admin_key_file) == ("auto", False, None)
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({"SENSEDICT_HOME": str(tmp_path), "SENSEDICT_KEYS": "no", "SENSEDICT_CONTEXTS": "0"})
    for said in (
        "SENSEDICT_KEYS is 'no': give one of auto, required, off",
        "SENSEDICT_CONTEXTS is '0': give one of on",
    ):
        assert said in caught.value.detail
