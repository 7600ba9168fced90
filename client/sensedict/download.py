"""A dictionary fetched from its service as an archive, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator

from sensedict import wire
from sensedict.archive import MEDIA
from sensedict.exchange import Request
from sensedict.service import Address, Service


def download_snapshot(
    base_url: str, dictionary: str, *, timeout: float = 30.0, patience: float = 60.0, key: str | None = None
) -> Iterator[bytes]:
    """The pieces of the dictionary's archive, for a file or a `sensedict.receiver.Receiver`; see `SenseClient`.

    Raises:
        DictionaryNotFound: the service has no such dictionary.
        Unavailable: it is away for longer than `patience` seconds.
        Mismatch: the dictionary got or lost an alias while it was fetched, and the connection was cut.
    """
    service = Service(Address(base_url, timeout, patience, 1, key), None)
    try:
        yield from service.download(Request(wire.SNAPSHOT, bytes, {"ref": dictionary}, accept=MEDIA))
    finally:
        service.close()
