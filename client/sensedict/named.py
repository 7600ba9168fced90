"""The dictionary that is asked: which one it is, and what a request to it may hold."""

from __future__ import annotations

import threading
from typing import TypeVar

from sensedict import inputs, wire
from sensedict.errors import DictionaryNotFound
from sensedict.exchange import Call, Parameters, Request, ask, json_as
from sensedict.source import Identity

T = TypeVar("T")


class Named:
    """One dictionary by its name, as steps that a driver carries out (`sensedict.exchange`).

    An alias, as `latest`, is looked up once; from then on the version is named, so that a long training run has one
    dictionary whatever the alias does meanwhile. Safe to use from several threads.

    Args:
        dictionary: `name@version` or `name@alias`; a bare name means its alias `latest`.
    """

    def __init__(self, dictionary: str) -> None:
        self._dictionary = dictionary
        self._lock = threading.Lock()
        self._info: wire.DictionaryInfo | None = None
        self._limits: wire.Limits | None = None

    def identity(self) -> Call[Identity]:
        """The dictionary that answers; fixed from the first use on.

        Raises:
            DictionaryNotFound: the service has no such dictionary, version or alias.
            Unavailable: the service did not answer in time.
        """
        return (yield from self.info()).identity()

    def info(self) -> Call[wire.DictionaryInfo]:
        """The dictionary's identity, size, licences and settings; fixed from the first use on."""
        if self._info is not None:
            return self._info
        if not inputs.is_address(self._dictionary):
            raise (yield from self._no_address())
        found = yield from ask(Request(wire.DICTIONARY, json_as(wire.DictionaryInfo), {"ref": self._dictionary}))
        with self._lock:  # the first answer holds, should two have asked at once while the alias moved
            self._info = self._info or found
            return self._info

    def limits(self) -> Call[wire.Limits]:
        """What one request may ask for; larger bulk requests are split."""
        if self._limits is None:
            self._limits = yield from ask(Request(wire.LIMITS, json_as(wire.Limits)))
        return self._limits

    def dictionaries(self) -> Call[list[wire.DictionaryInfo]]:
        """Every published dictionary of the service; of a file set, the one that it holds."""
        return (yield from ask(Request(wire.DICTIONARIES, json_as(list[wire.DictionaryInfo]))))

    def _places(self, **places: int) -> Call[dict[str, str | int]]:
        info = yield from self.info()
        return {"ref": f"{info.name}@{info.version}", **places}

    def _get(self, route: str, kind: type[T], parameters: Parameters | None = None, **places: int) -> Call[T]:
        named = yield from self._places(**places)
        return (yield from ask(Request(route, json_as(kind), named, parameters or {})))

    def _checked(self, word: str) -> Call[str]:
        return inputs.checked_word(word, (yield from self.limits()).max_word_characters)

    def _no_address(self) -> Call[DictionaryNotFound]:
        names = sorted({info.name for info in (yield from self.dictionaries())})
        there = f"there are {', '.join(names)}" if names else "there is none yet"
        return DictionaryNotFound(
            f"{self._dictionary[:80]!r} can name no dictionary: write name@version or name@alias, with letters, "
            f"digits, '.', '_' and '-'; {there}"
        )
