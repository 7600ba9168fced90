"""What the environment decides, read and checked in one place."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from sensedict.errors import ConfigurationError

DRIVER = "postgresql+psycopg"
UNPROTECTED = "off-even-in-public"
KEYS = ("auto", "required", "off", UNPROTECTED)
_PREFIX = "SENSEDICT_"
_READ = (
    "HOME",
    "DATABASE_URL",
    "DATABASE_PASSWORD_FILE",
    "POOL_SIZE",
    "PLANS",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "KEYS",
    "ADMIN_KEY_FILE",
    "CONTEXTS",
)
_OF_OTHERS = (
    "TEST_DATA",
    "PORT",
    "DATABASE_PORT",
    "DATABASE_MEMORY",
    "DATABASE_CPUS",
    "KEY",
)  # the tests, docker-compose.yml, clients


@dataclass(frozen=True)
class Settings:
    """Where the database and the files are.

    Attributes:
        home: folder of everything that sensedict keeps on this machine.
        database_url: any PostgreSQL ≥ 15 with pgvector ≥ 0.8; None: an embedded one in `home/postgres`.
        pool_size: connections of one process, and so its threads that answer requests.
        plans: TOML file of the builds that can be started over HTTP; None: there are none.
        log_level: the least that the service's log tells: debug, info, warning or error.
        log_format: json or text; None: text on a terminal, JSON elsewhere.
        keys: whether callers need a key, one of KEYS. `auto`: all do, but where the service listens on loopback alone.
        admin_key_file: holds an administrator's key beside those of the database; None: there is none.
        contexts: whether answers hold the passages that senses were found in.
    """

    home: Path
    database_url: URL | None = None
    pool_size: int = 10
    plans: Path | None = None
    log_level: str = "info"
    log_format: str | None = None
    keys: str = "auto"
    admin_key_file: Path | None = None
    contexts: bool = True

    @property
    def files(self) -> Path:
        """Folder of the file sets."""
        return self.home / "files"

    @property
    def embedded(self) -> Path:
        """Data folder of the embedded PostgreSQL."""
        return self.home / "postgres"

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables of `_READ`, each after `SENSEDICT_`.

        Raises:
            ConfigurationError: naming every fault at once.
        """
        faults: list[str] = []
        home = _home(environment, faults)
        url = _database_url(environment, faults)
        pool_size = _pool_size(environment, faults)
        plans = _plans(environment, faults)
        log_level = _one_of(environment, "LOG_LEVEL", ("debug", "info", "warning", "error"), faults)
        log_format = _one_of(environment, "LOG_FORMAT", ("json", "text"), faults)
        keys = _one_of(environment, "KEYS", KEYS, faults)
        admin_key_file = environment.get("SENSEDICT_ADMIN_KEY_FILE", "")
        contexts = _one_of(environment, "CONTEXTS", ("on", "off"), faults)
        faults += _misspelt(environment)
        if faults:
            raise ConfigurationError("the environment cannot be used: " + "; ".join(faults))
        return Settings(
            home=home,
            database_url=url,
            pool_size=pool_size,
            plans=plans,
            log_level=log_level or Settings.log_level,
            log_format=log_format,
            keys=keys or Settings.keys,
            admin_key_file=Path(admin_key_file).expanduser().absolute() if admin_key_file else None,
            contexts=contexts != "off",
        )


def _home(environment: Mapping[str, str], faults: list[str]) -> Path:
    named = environment.get("SENSEDICT_HOME", "")
    if named:
        home = Path(named).expanduser()
    elif os.geteuid() == 0:
        home = Path("/var/lib/sensedict")  # not root's own folder: the embedded server's user must reach it
    else:
        share = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        home = Path(share) / "sensedict"
    if home.exists() and not home.is_dir():
        faults.append(f"SENSEDICT_HOME {str(home)!r} is not a folder: name a folder, or one that can be made")
    return home.absolute()


def _database_url(environment: Mapping[str, str], faults: list[str]) -> URL | None:
    text = environment.get("SENSEDICT_DATABASE_URL", "")
    if not text:
        if environment.get("SENSEDICT_DATABASE_PASSWORD_FILE"):  # of a database that the embedded one is not
            faults.append("SENSEDICT_DATABASE_PASSWORD_FILE is set without SENSEDICT_DATABASE_URL: set both or neither")
        return None
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the text is not repeated: it may hold a password
        faults.append("SENSEDICT_DATABASE_URL is not a URL: write postgresql://user:password@host:5432/database")
        return None
    if url.drivername not in ("postgres", "postgresql", DRIVER):
        faults.append(
            f"SENSEDICT_DATABASE_URL names {url.drivername!r}: only PostgreSQL is supported, postgresql://user@host/database"
        )
        return None
    url = url.set(drivername=DRIVER)
    return url if url.password else _with_password(url, environment, faults)


def _with_password(url: URL, environment: Mapping[str, str], faults: list[str]) -> URL:
    """The URL with the password of a file, which is how containers are given secrets; without one, as it is."""
    named = environment.get("SENSEDICT_DATABASE_PASSWORD_FILE", "")
    if not named:
        return url
    try:
        password = Path(named).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        faults.append(f"SENSEDICT_DATABASE_PASSWORD_FILE {named!r} cannot be read: {reason}")
        return url
    if not password:
        faults.append(f"SENSEDICT_DATABASE_PASSWORD_FILE {named!r} is empty: write the password into it")
    return url.set(password=password)


def _pool_size(environment: Mapping[str, str], faults: list[str]) -> int:
    text = environment.get("SENSEDICT_POOL_SIZE", "")
    if not text:
        return Settings.pool_size
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000:
        faults.append(f"SENSEDICT_POOL_SIZE is {text!r}: give a number of connections from 1 to 1000")
        return Settings.pool_size
    return int(text)


def _plans(environment: Mapping[str, str], faults: list[str]) -> Path | None:
    """The file, which `read_plans` reads: only a service needs what is in it."""
    named = environment.get("SENSEDICT_PLANS", "")
    if not named:
        return None
    path = Path(named).expanduser().absolute()
    if not path.is_file():
        faults.append(f"SENSEDICT_PLANS {str(path)!r} is not a file: name a TOML file of plans, or unset it")
    return path


def _one_of(environment: Mapping[str, str], name: str, known: Sequence[str], faults: list[str]) -> str | None:
    given = environment.get(f"{_PREFIX}{name}", "")
    if given and given not in known:
        faults.append(f"{_PREFIX}{name} is {given!r}: give one of {', '.join(known)}")
        return None
    return given or None


def _misspelt(environment: Mapping[str, str]) -> list[str]:
    """A fault for each name that is nearly one of ours: ignored, it would leave the default in force unseen."""
    faults = []
    for name in sorted(environment):
        rest = name.removeprefix(_PREFIX)
        if rest == name or rest in _READ or rest in _OF_OTHERS:
            continue
        meant = difflib.get_close_matches(rest.upper(), _READ, 1, cutoff=0.75)
        if meant:
            faults.append(f"{name} is not known: write {_PREFIX}{meant[0]}, or unset it")
    return faults
