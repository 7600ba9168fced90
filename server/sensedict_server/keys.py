"""API keys: how they are made, and which of them a running service lets in."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sensedict.errors import ConfigurationError, SenseDictError, Unauthorized, Unavailable
from sensedict_server.database import takes_changes
from sensedict_server.queries.keys import Key, Scope, keys_in_force, mark_used

SIGN = "sdk_"  # what a key begins with, for scanners of secrets
SHOWN = len(SIGN) + 6  # characters of a key that are kept and listed: 36 bits of 256
REFRESH = 2.0  # seconds between two looks at the table: how late a revocation is seen
AGAIN = 0.1  # seconds between two looks at least: whoever tries unknown keys causes no more
PATIENCE = 5.0  # seconds that a look may take
NOTE = 60.0  # seconds between two notes of when keys were last used
OPERATOR = "operator"  # whom logs and limits call the holder of that key
SHORTEST = 32  # characters of a key that the operator thought of
_BEARER = b"bearer "
_LONGEST = 200  # bytes of a key that are looked at

_log = logging.getLogger("sensedict.service")


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        name: of the key, or the address of a caller without one; what fair share goes by.
        scope: what the caller may do.
    """

    name: str
    scope: Scope


def make_key() -> str:
    """A new key of 256 random bits."""
    return SIGN + secrets.token_urlsafe(32)


def hash_key(key: bytes) -> bytes:
    """What is kept of a key.

    A slow, salted hash protects passwords, which people choose and so can be guessed one after another. Nobody guesses
    256 random bits, however quick the hash; and a quick one lets every request be checked.
    """
    return sha256(key).digest()


def read_key_file(path: Path) -> bytes:
    """The hash of the operator's key in a file.

    Raises:
        ConfigurationError: there is no such file, or what is in it is too short to be a key.
    """
    fix = f"`sensedict keys write {path}` makes one"
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"SENSEDICT_ADMIN_KEY_FILE {path}: {error.strerror}; {fix}") from error
    if len(key) < SHORTEST or not key.isascii() or len(key.split()) != 1:
        raise ConfigurationError(
            f"SENSEDICT_ADMIN_KEY_FILE {path} holds no key, which is one line of {SHORTEST} ASCII characters or more "
            f"without spaces: {fix}"
        )
    return hash_key(key)


class KeyRing:
    """The keys in force, as this process last saw them.

    The table is read every `REFRESH` seconds, over a connection of its own, so that a check waits for nothing; while
    the database is away the keys that were seen last hold. A request with a key that is not among them has the table
    read at once: a new key works without delay.

    Args:
        database: of one connection.
        operators_key: hash of an administrator's key that is in no table.
    """

    def __init__(self, database: Engine, operators_key: bytes | None = None) -> None:
        self._database = database
        self._operators_key = operators_key
        self._known: dict[bytes, tuple[Caller, Key | None]] = {}
        self._used: dict[int, datetime] = {}
        self._seen = float("-inf")  # when the table was read last
        self._failed = False  # to read it
        self._reading = asyncio.Lock()
        self._lane = anyio.CapacityLimiter(1)  # the threads of requests stay theirs
        self._take([])

    def find(self, authorization: bytes) -> Caller | None:
        """Who sends this header; None for whom it does not know yet.

        The time that the look-up takes depends on the key's hash, of which a guesser learns nothing.

        Raises:
            Unauthorized: the header is not of the form `Bearer KEY`.
        """
        if authorization[: len(_BEARER)].lower() != _BEARER or len(authorization) > _LONGEST:
            raise Unauthorized("the Authorization header holds no key: send `Authorization: Bearer KEY`")
        found = self._known.get(hash_key(authorization[len(_BEARER) :].strip()))
        if found is None:
            return None
        caller, key = found
        if key is not None:
            now = datetime.now(UTC)
            if key.expires_at is not None and key.expires_at <= now:
                return None
            self._used[key.id] = now
        return caller

    async def caller(self, authorization: bytes) -> Caller:
        """Who sends this header.

        Raises:
            Unauthorized: nobody whom the database knows, now.
            Unavailable: the database is away and the key was not seen before.
        """
        found = self.find(authorization)
        if found is None:
            await self._read()
            found = self.find(authorization)
        if found is not None:
            return found
        if self._failed:
            raise Unavailable("the key was not seen before, and the database that knows of it does not answer")
        raise Unauthorized("the key is unknown, revoked or expired: `sensedict keys list` tells which there are")

    async def watch(self) -> None:
        """Keep up with the table until cancelled; then note what is to be noted."""
        noted = asyncio.get_running_loop().time()
        try:
            while True:
                await self._read()
                if asyncio.get_running_loop().time() - noted >= NOTE:
                    noted = asyncio.get_running_loop().time()
                    await self._in_lane(self._note)
                await asyncio.sleep(REFRESH)
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_lane(self._note)
                self._database.dispose()

    async def _read(self) -> None:
        """See the table as it is now or later."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._reading:
            if self._seen >= asked:  # somebody else began to read after we came
                return
            await asyncio.sleep(self._seen + AGAIN - loop.time())
            self._seen = loop.time()
            self._failed = not await self._in_lane(self._refresh)

    async def _in_lane(self, work: Callable[[], None]) -> bool:
        """Do it in a thread; False where the database does not let us."""
        try:
            await anyio.to_thread.run_sync(work, limiter=self._lane)
        except (SenseDictError, SQLAlchemyError) as error:
            if not self._failed:
                _log.warning("keys: %s", error)
            return False
        except Exception:  # `watch` must live: without it a revoked key would stay in force
            _log.exception("keys")
            return False
        return True

    def _refresh(self) -> None:
        with self._database.connect() as connection:
            self._take(keys_in_force(connection))

    def _take(self, keys: list[Key]) -> None:
        known: dict[bytes, tuple[Caller, Key | None]] = {key.hash: (Caller(key.name, key.scope), key) for key in keys}
        if self._operators_key is not None:
            known[self._operators_key] = (Caller(OPERATOR, "admin"), None)
        self._known = known

    def _note(self) -> None:
        used, self._used = self._used, {}
        if used:
            with self._database.begin() as connection:
                if takes_changes(connection):
                    mark_used(connection, used)
