"""A dictionary out of one database and into another: every answer the same, and all of it or nothing."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, insert, text
from sqlalchemy.engine import URL
from starlette.requests import Request

from conftest import copy_of_template
from file_set_factory import write_file_set
from moved_snapshot import BECAUSE, Answer, archive_of, ask, import_from
from rich_lexicon import FORMS, insert_rich_lexicon
from running_service import SENSEDICT, Service, environment_of, running_service
from sensedict.cli import cli
from sensedict.errors import Conflict, InvalidInput, InvalidSnapshot, RequestTooLarge
from sensedict.fileset import INDEX, MANIFEST
from sensedict.snapshot import Snapshot
from sensedict_server import files
from sensedict_server.build.publish import publish
from sensedict_server.catalogue import Catalogue
from sensedict_server.database import opened
from sensedict_server.lifecycle import set_alias
from sensedict_server.routes import snapshots
from sensedict_server.settings import Settings
from sensedict_server.snapshots.importing import Names
from sensedict_server.snapshots.staging import staging
from sensedict_server.tables import words
from tiny_dictionary import TOKENS, WORDS, insert_lexicon, make_draft
from until import until


@dataclass(frozen=True)
class Place:
    """A database with its file sets, and a service over both."""

    settings: Settings
    engine: Engine
    service: Service

    def get(self, path: str, **headers: str) -> Answer:
        """What the service answers."""
        return ask(f"{self.service.url}/v1/{path}", **headers)


@pytest.fixture(scope="module")
def origin(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """`tiny@1` over a lexicon with all that a lexicon can hold; `prod` names it too."""
    with _place(postgres, tmp_path_factory.mktemp("origin")) as place:
        lexicon, ids, _ = insert_rich_lexicon(place.engine)
        publish(place.engine, place.settings.files, make_draft(lexicon, ids))
        set_alias(place.engine, "tiny", "prod", "1", BECAUSE)
        yield place


@pytest.fixture(scope="module")
def archive(origin: Place) -> bytes:
    """Its snapshot, as its service sends it."""
    return origin.get("dictionaries/tiny/snapshot").body


@pytest.fixture(scope="module")
def moved(postgres: URL, archive: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A database that was empty and has imported it over HTTP."""
    with _place(postgres, tmp_path_factory.mktemp("moved")) as place:
        done = ask(f"{place.service.url}/v1/snapshots", archive)
        assert done.status == 201, done.body
        told: Any = done.json
        assert (told["state"], told["lexicon"], told["aliases"]) == ("imported", "loaded", ["latest", "prod"])
        yield place


@contextmanager
def _place(postgres: URL, home: Path) -> Iterator[Place]:
    with (
        copy_of_template(postgres, home) as settings,
        opened(settings) as engine,
        running_service(settings, home / "log") as service,
    ):
        yield Place(settings, engine, service)


def questions(relation_ids: list[int]) -> Iterator[str]:
    """A question to every route that answers of a dictionary's content."""
    yield from ("dictionaries", "dictionaries/tiny@1", "dictionaries/tiny@prod")
    for token in range(len(TOKENS) + 1):
        yield f"dictionaries/tiny@1/tokens/{token}/senses"
    for word in (*WORDS, "HOT", "kinder", "nothing", *(form for form, *_ in FORMS)):
        asked = f"word={quote(word)}"
        yield f"dictionaries/tiny@1/senses?{asked}&neighbours=3"
        yield f"dictionaries/tiny@1/relations?{asked}&depth=3&count=true&limit=5"
        yield f"dictionaries/tiny@1/path?{asked}&other=frost"
        yield f"dictionaries/tiny@1/map?{asked}"
    for sense in range(0, 82, 9):
        yield f"dictionaries/tiny@1/senses/{sense}"
        yield f"dictionaries/tiny@1/senses/{sense}/neighbours"
    yield from (f"dictionaries/tiny@1/relations/{relation}" for relation in relation_ids)
    yield from (f"dictionaries/tiny@1/words?prefix={prefix}" for prefix in "chu")


def test_every_answer_is_the_same(origin: Place, moved: Place) -> None:
    with origin.engine.connect() as connection:
        ids = list(connection.execute(text("SELECT id FROM relations ORDER BY id")).scalars())
    found = 0
    for question in questions([*ids, max(ids) + 1]):
        here, there = origin.get(question), moved.get(question)
        assert (here.status, here.json) == (there.status, there.json), question
        found += here.status == 200
    assert found > 150


def test_one_content_is_one_archive(origin: Place, moved: Place, archive: bytes) -> None:
    again = moved.get("dictionaries/tiny@prod/snapshot")
    assert again.body == archive
    assert again.headers["ETag"] == origin.get("dictionaries/tiny/snapshot").headers["ETag"]
    assert int(again.headers["Content-Length"]) == len(archive)
    assert again.headers["Content-Type"] == "application/x-tar"
    shutil.rmtree(moved.settings.files / "tiny@1")  # written anew from the imported rows, byte for byte
    assert moved.get("dictionaries/tiny@1/snapshot").body == archive


def test_parts_of_it(moved: Place, archive: bytes) -> None:
    path, size = "dictionaries/tiny@1/snapshot", len(archive)
    tag = moved.get(path).headers["ETag"]
    assert moved.get(path, If_None_Match=tag).status == 304
    for asked, start, stop in (
        ("0-99", 0, 100),
        ("1500-", 1500, size),
        ("-7", size - 7, size),
        ("9-99999999", 9, size),
    ):
        part = moved.get(path, Range=f"bytes={asked}", If_Range=tag)
        assert (part.status, part.body) == (206, archive[start:stop])
        assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    assert moved.get(path, Range="bytes=5-9", If_Range='"another"').body == archive
    beyond = moved.get(path, Range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert moved.get(path, Accept="text/html").status == 406


def test_what_is_there_already(moved: Place, archive: bytes) -> None:
    url = f"{moved.service.url}/v1/snapshots"
    again = ask(url, archive)
    assert (again.status, again.json["state"]) == (200, "present")
    for broken in (archive[:-1], archive + b"x", archive[:700], b""):
        refused = ask(url, broken)
        assert (refused.status, refused.json["type"]) == (422, "urn:sensedict:problem:invalid-snapshot")
    assert ask(url, archive, Content_Type="application/octet-stream").status == 415
    assert ask(f"{url}?as=tiny@latest", archive).status == 422
    renamed = ask(f"{url}?as=other@7&reason=to+compare", archive)
    assert (renamed.status, renamed.json["lexicon"], renamed.json["dictionary"]["version"]) == (201, "shared", "7")
    assert moved.get("dictionaries/other@7").json["aliases"] == ["latest", "prod"]
    told = moved.get("dictionaries/other@7/history").json
    assert ("import", "to compare") in [(event["action"], event["reason"]) for event in told]
    checked = ask(f"{url}:verify", archive)
    assert checked.status == 200, checked.body
    assert checked.json["content_hash"] == renamed.json["dictionary"]["content_hash"]
    assert (checked.json["dictionary"], checked.json["aliases"]) == ("tiny@1", ["latest", "prod"])
    assert sum(checked.json[name] for name in ("size", "senses")) < len(archive)
    middle = len(archive) // 2
    for broken in (archive[:-1], archive[:middle] + bytes([archive[middle] ^ 1]) + archive[middle + 1 :]):
        assert ask(f"{url}:verify", broken).json["type"] == "urn:sensedict:problem:invalid-snapshot"
    nothing_is_staged(moved.settings)
    # of one content, and asked for one without the other
    with moved.engine.begin() as connection:
        connection.execute(text("INSERT INTO version_uses VALUES ('other', '7', '', 1, '2099-01-01', '2099-01-01')"))
    listed = CliRunner().invoke(cli, ["dictionary", "list"], env=environment_of(moved.settings)).stdout.splitlines()
    assert [line.split()[0] for line in listed if "2099-01-01" in line] == ["other@7"]


def test_others_are_answered_while_an_import_waits_for_another_process(moved: Place, archive: bytes) -> None:
    with ThreadPoolExecutor(1) as pool:
        with open(moved.settings.files / ".import-lock", "w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            imported = pool.submit(ask, f"{moved.service.url}/v1/snapshots", archive)
            time.sleep(0.5)  # it has come that far
            assert urllib.request.urlopen(f"{moved.service.url}/livez", timeout=20).status == 200
            assert not imported.done()
        assert imported.result(60).status == 200


def test_a_snapshot_larger_than_the_disk(moved: Place, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent in chunks, it does not state its size: refused when its manifest is there."""
    monkeypatch.setattr(snapshots, "PIECE", 8192)
    usage = shutil.disk_usage(moved.settings.files)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    sent = [archive[start : start + 4096] for start in range(0, len(archive), 4096)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent.pop(0), "more_body": len(sent) > 0}

    async def take(folder: Path) -> None:
        request = Request({"type": "http", "headers": []}, receive)
        await snapshots._received(request, folder, Catalogue(moved.engine, moved.settings.files))

    with staging(moved.settings.files) as folder, pytest.raises(RequestTooLarge, match="the disk of the file sets"):
        asyncio.run(take(folder))
    assert len(sent) > 2


def test_same_name_another_content(database: Engine, settings: Settings, origin: Place) -> None:
    draft = make_draft(*insert_lexicon(database, "rich"))
    publish(database, settings.files, replace(draft, tokens=replace(draft.tokens, contexts=[[]] * 69)))
    with pytest.raises(Conflict, match=r"tiny@1 is published here and has the content hash .* another name, with `as`"):
        import_from(origin.settings.files / "tiny@1", database, settings)
    # the same vectors, and other contexts
    plain = make_draft(1, {row.text: row.id for row in _words(database)}, "2")
    whole = publish(database, settings.files, plain)
    shutil.copytree(settings.files / "tiny@2", settings.home / "copy")
    publish(database, settings.files, replace(plain, version="3", tokens=replace(plain.tokens, contexts=[[]] * 69)))
    assert import_from(settings.home / "copy", database, settings).dictionary == whole
    manifest = settings.home / "copy" / MANIFEST
    kept = manifest.read_text()
    manifest.write_text(kept.replace('"teacher": "', '"teacher": "another-'))
    with pytest.raises(Conflict, match=r"tiny@2 is published here and has another identity"):
        import_from(settings.home / "copy", database, settings)
    publish(database, settings.files, replace(plain, version="4"), keep_draft=True)
    with pytest.raises(Conflict, match=r"tiny@4 is a draft here: publish or delete it"):
        import_from(settings.home / "copy", database, settings, Names("tiny@4"))
    manifest.write_text(kept)
    with pytest.raises(Conflict, match=r"tiny@3 .* has other texts, counts or contexts than the snapshot"):
        import_from(settings.home / "copy", database, settings, Names("tiny@3"))
    nothing_is_staged(settings)


def _words(database: Engine) -> Any:
    with database.connect() as connection:
        return connection.execute(text("SELECT id, text FROM words")).all()


def test_into_a_database_that_knows_other_words(origin: Place, database: Engine, settings: Settings) -> None:
    """Every id is taken, words in another order, and the lexicon's name too."""
    with database.begin() as connection:
        connection.execute(insert(words), [{"text": word} for word in reversed(WORDS)])
        connection.execute(text("INSERT INTO lexicons (name, version) VALUES ('rich', '1')"))
        connection.execute(text("UPDATE lexicons SET state = 'published'"))
    source = origin.settings.files / "tiny@1"
    with pytest.raises(Conflict, match=r"lexicon rich@1 is here and holds something else .* `lexicon-as`"):
        import_from(source, database, settings)
    done = import_from(source, database, settings, Names("tiny@9", "rich@9"))
    assert (done.lexicon, done.dictionary.lexicon, done.aliases) == ("loaded", "rich@9", ("latest",))
    with Snapshot.open(settings.files / "tiny@9", verify=True) as opened_:
        assert opened_.identity.version == "9"
    before = {path.name: path.read_bytes() for path in (settings.files / "tiny@9").iterdir()}
    shutil.rmtree(settings.files / "tiny@9")
    place = files.ensure(database, settings.files, done.dictionary)  # the index is the snapshot's, word for word
    assert (place / INDEX).read_bytes() == before[INDEX] == (source / INDEX).read_bytes()
    record, record_before = (json.loads(text)["record"] for text in ((place / MANIFEST).read_bytes(), before[MANIFEST]))
    assert record["rows_hash"] == record_before["rows_hash"]
    assert record["lexicon_hash"] == record_before["lexicon_hash"]
    assert (place / "relations.parquet").read_bytes() != before["relations.parquet"]  # other ids
    assert import_from(source, database, settings, Names("tiny@9", "rich@9")).state == "present"
    assert import_from(place, database, settings, Names("tiny@10")).lexicon == "shared"


def nothing_is_staged(settings: Settings) -> None:
    assert {path.name for path in settings.files.glob(".import-*")} <= {".import-lock"}


def test_a_killed_import_leaves_nothing(origin: Place, database: Engine, settings: Settings) -> None:
    place = origin.settings.files / "tiny@1"
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'contexts'::regclass")
    with database.connect() as holding, database.connect() as looking:
        holding.execute(text("LOCK TABLE contexts IN ACCESS EXCLUSIVE MODE"))
        command = [*SENSEDICT, "snapshot", "import", str(place)]
        importing = subprocess.Popen(command, env=environment_of(settings))
        until(lambda: looking.execute(waits).scalar_one(), importing)
        importing.send_signal(signal.SIGKILL)
        importing.wait()
    with database.connect() as connection:
        for table in ("dictionaries", "lexicons", "tokens", "senses", "aliases", "history"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
    assert len(list(settings.files.glob(".import-*/"))) == 1
    assert not (settings.files / "tiny@1").exists()
    assert import_from(place, database, settings).state == "imported"
    nothing_is_staged(settings)
    files.verify(settings.files / "tiny@1")


def test_the_commands(origin: Place, database: Engine, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "tiny.tar"
    size = len(archive_of(origin.settings.files / "tiny@1", ("latest", "prod")))
    assert sensedict(origin.settings, "export", "tiny@prod", str(file)) == f"{file}: tiny@1, {size:,} bytes\n"
    with pytest.raises(Conflict, match="is there already: name another file, or replace it with --force"):
        sensedict(origin.settings, "export", "tiny@1", str(file))
    sensedict(origin.settings, "export", "tiny@1", str(file), "--force")
    assert sensedict(settings, "verify", str(file)) == f"{file} is whole: tiny@1\n"
    place = origin.settings.files / "tiny@1"
    assert sensedict(settings, "verify", str(place)) == f"{place} is whole: tiny@1\n"
    told = sensedict(settings, "inspect", str(file))
    assert told.startswith("dictionary  tiny@1\naliases     latest, prod\nlexicon     rich@1\n")
    assert "CC-BY-SA-4.0" in told
    url = origin.service.url
    with pytest.raises(InvalidInput, match="say which with --dictionary"):
        sensedict(settings, "import", url)
    done = sensedict(settings, "import", url, "--dictionary", "tiny@prod")
    assert done == "tiny@1 is imported; its lexicon rich@1 is loaded.\nIt is latest, prod now.\n"
    assert sensedict(settings, "import", str(file)) == "tiny@1 is here already, with the same content.\n"
    file.write_bytes(file.read_bytes()[:-600])
    for verb in ("verify", "import"):
        with pytest.raises(InvalidSnapshot, match="in the middle"):
            sensedict(settings, verb, str(file))


def sensedict(settings: Settings, *arguments: str) -> str:
    """What the command prints, in this process; an error of ours is raised."""
    done = CliRunner().invoke(cli, ["snapshot", *arguments], env=environment_of(settings))
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_set_that_is_replaced_while_it_is_read(origin: Place, tmp_path: Path) -> None:
    """Two sets take turns under one name: whoever reads gets one of them, whole."""
    source, place = origin.settings.files / "tiny@1", tmp_path / "files" / "tiny@1"
    ours = write_file_set(tmp_path)
    hashes = {json.loads((one / MANIFEST).read_bytes())["identity"]["content_hash"] for one in (source, ours)}
    stop = threading.Event()

    def replace_it() -> None:
        for turn in itertools.count():
            with files.locked(place.parent, "tiny@1"), files.temporary(place.parent, "tiny@1") as new:
                shutil.copytree((source, ours)[turn % 2], new, dirs_exist_ok=True)
                files.put_in_place(new, place)
            if stop.is_set():
                return

    place.parent.mkdir()
    shutil.copytree(source, place)
    seen = set()
    with ThreadPoolExecutor() as threads:
        replacing = threads.submit(replace_it)
        for turn in range(10_000):
            with Snapshot.open(place, verify=True) as opened_:
                seen.add(opened_.identity.content_hash)
            if turn >= 60 and seen >= hashes:  # on a busy machine the other thread may not have had a turn before
                break
        stop.set()
        replacing.result()
    assert seen == hashes
