"""Who reaches the service, and so whether it may run without keys."""

from __future__ import annotations

import ipaddress
import socket

from sqlalchemy import Engine

from sensedict.errors import ConfigurationError, Unavailable
from sensedict_server.keys import read_key_file
from sensedict_server.queries.keys import keys_in_force
from sensedict_server.settings import UNPROTECTED, Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`, a name or an address."""
    try:
        # passive: no host stands for every address, as it does for a server
        listed = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        return False
    found = {str(address[0]).partition("%")[0] for _, _, _, _, address in listed}
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def decide(settings: Settings, host: str) -> str:
    """What `settings.keys` means on this address: `required`, `off` or UNPROTECTED.

    Raises:
        ConfigurationError: keys are off where others than this machine reach the service.
    """
    local = is_loopback(host)
    if settings.keys == "auto":
        return "off" if local and settings.admin_key_file is None else "required"
    if settings.keys == "off" and not local:
        raise ConfigurationError(
            f"SENSEDICT_KEYS=off, and other machines reach {host}: whoever finds the service could change what it has. "
            "Leave SENSEDICT_KEYS out and make a key with `sensedict keys create`, or, where something in front of the "
            f"service asks who is there, set SENSEDICT_KEYS={UNPROTECTED}"
        )
    return settings.keys


def require_a_key(engine: Engine, settings: Settings, host: str) -> None:
    """Let pass a service that somebody can use.

    Raises:
        ConfigurationError: keys are needed and there is none in force.
    """
    if settings.admin_key_file is not None:
        read_key_file(settings.admin_key_file)
        return
    try:
        with engine.connect() as connection:
            there = bool(keys_in_force(connection))
    except Unavailable:  # while the database is away nobody is let in
        return
    if not there:
        raise ConfigurationError(
            f"on {host} callers need a key, and there is none: `sensedict keys create NAME --scope admin` makes one; "
            "on 127.0.0.1, the default, none is needed"
        )
