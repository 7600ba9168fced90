"""The clients: of a service, over HTTP, one request after the other or many at once, and of a file set."""

from __future__ import annotations

from pathlib import Path

from sensedict.dictionary import AsyncDictionary, Dictionary
from sensedict.errors import ConfigurationError, DictionaryNotFound
from sensedict.fileset import MANIFEST
from sensedict.local import LocalDriver
from sensedict.service import Address, AsyncService, AsyncTransport, Service, Transport
from sensedict.snapshot import Snapshot


class SenseClient(Dictionary):
    """A dictionary of a service: a `SenseSource` over HTTP, and the questions that people ask.

    An alias, as `latest`, is looked up once; from then on the client names the version, so that a long training run
    has one dictionary whatever the alias does meanwhile. Safe to use from several threads.

    ```python
    with SenseClient("http://127.0.0.1:8000", "smollm2-demo@latest") as senses:
        for sense in senses.word("bank").senses:
            print(sense.count, sense.contexts[0].text)
        sets = senses.candidate_sets(np.array([1234, 567]))
        vectors = senses.get_senses(sets.own_first)
    ```

    Args:
        base_url: the service's root, e.g. `http://127.0.0.1:8000`.
        dictionary: `name@version` or `name@alias`; a bare name means its alias `latest`.
        timeout: seconds to wait for a connection, and for each next piece of an answer.
        patience: seconds in which a service that is away is asked again; no attempt starts later.
        key: for services that ask for one; left out: the environment's SENSEDICT_KEY.
        connections: most connections open at once; further requests wait for one.
        transport: what carries the requests, where it is not the network.

    Raises:
        ConfigurationError: base_url is not an http address, or the key can be none.
    """

    def __init__(
        self,
        base_url: str,
        dictionary: str,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        key: str | None = None,
        connections: int = 20,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(Service(Address(base_url, timeout, patience, connections, key), transport), dictionary)


class AsyncSenseClient(AsyncDictionary):
    """The questions of `SenseClient`, to be awaited: as many at once as there are connections.

    ```python
    async with AsyncSenseClient("http://127.0.0.1:8000", "smollm2-demo@latest") as senses:
        light, dark = await asyncio.gather(senses.word("light"), senses.word("dark"))
        async for relation in senses.relations("light", "antonym"):
            print(relation.other)
    ```

    Args: as of `SenseClient`.

    Raises:
        ConfigurationError: base_url is not an http address, or the key can be none.
    """

    def __init__(
        self,
        base_url: str,
        dictionary: str,
        *,
        timeout: float = 30.0,
        patience: float = 60.0,
        key: str | None = None,
        connections: int = 20,
        transport: AsyncTransport | None = None,
    ) -> None:
        super().__init__(AsyncService(Address(base_url, timeout, patience, connections, key), transport), dictionary)


class SnapshotClient(Dictionary):
    """A dictionary's file set, asked as a service is, without one.

    Bulk reads, tokens and senses answer from mapped or partly read files; words and relations are read into memory when
    they are first asked for. All but the bulk reads need the extra `snapshot`.

    Args:
        folder: the file set, e.g. `files/smollm2-demo@1`.

    Raises:
        ConfigurationError: there is no file set in the folder.
        Corrupt: a file is missing, cut off, or of another format; names it.
    """

    def __init__(self, folder: str | Path) -> None:
        snapshot = Snapshot.open(folder)
        super().__init__(LocalDriver(snapshot), snapshot.manifest.ref)


def open_dictionary(where: str | Path, dictionary: str | None = None) -> Dictionary:
    """The dictionary of that name at a service's address, or in a folder of file sets.

    ```python
    open_dictionary("http://127.0.0.1:8000", "smollm2-demo@latest")
    open_dictionary("files", "smollm2-demo@1")
    open_dictionary("files/smollm2-demo@1")
    ```

    Args:
        where: a service's root, a folder of file sets, or a file set.
        dictionary: `name@version`; of a service also `name@alias`, or a bare name for its alias `latest`. May be left
            out where a file set is named.

    Raises:
        ConfigurationError: there is no file set, or no dictionary was named to a service.
        DictionaryNotFound: the file set is another dictionary's, or the folder holds others; names them.
        Corrupt: a file of the set is missing, cut off, or of another format; names it.
    """
    if isinstance(where, str) and where.partition("://")[0] in ("http", "https"):
        if dictionary is None:
            raise ConfigurationError(f"a service has many dictionaries: name one of those at {where}, as name@version")
        return SenseClient(where, dictionary)
    folder = Path(where)
    if dictionary is not None and (folder / dictionary).is_dir():
        return SnapshotClient(folder / dictionary)
    held_sets = sorted(manifest.parent.name for manifest in folder.glob(f"*@*/{MANIFEST}"))
    if held_sets:
        asked = "name one" if dictionary is None else f"{dictionary!r} is none of them"
        raise DictionaryNotFound(f"{folder} holds the file sets {', '.join(held_sets)}: {asked}")
    opened = SnapshotClient(folder)
    held = opened.identity
    if dictionary not in (None, held.name, f"{held.name}@{held.version}"):
        opened.close()
        raise DictionaryNotFound(f"no dictionary {dictionary!r} in {folder}: it is {held.name}@{held.version}")
    return opened
