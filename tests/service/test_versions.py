"""The life of a version: draft, published, deprecated, deleted; by command, over HTTP, and all of it at once."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from running_service import environment_of, running_service
from sensedict.answers import warn_of_retirement
from sensedict.cli import cli
from sensedict.errors import Conflict, DictionaryGone, DictionaryNotFound, InvalidInput, LexiconNotFound
from sensedict_server import lifecycle, removal, upkeep
from sensedict_server.build.contents import Draft
from sensedict_server.build.publish import publish
from sensedict_server.build.publish_draft import publish_draft
from sensedict_server.catalogue import Catalogue
from sensedict_server.lifecycle import Because
from sensedict_server.queries.id_maps import add_id_map
from sensedict_server.queries.versions import find_tombstone, history_of, uses_of
from sensedict_server.settings import Settings
from sensedict_server.tables import metadata
from sensedict_server.uses import Uses
from service_problems import expect_problem
from until import until

_BEARER = 'Bearer realm="sensedict"'
WHY = Because("ada", "a test")
OF_DICTIONARY = ("tokens", "dictionary_words", "senses", "contexts")
OF_LEXICON = ("relation_sources", "relations", "glosses", "forms", "segmentations", "relation_glosses")


def number_of_rows(engine: Engine, *tables: str) -> int:
    with engine.connect() as connection:
        return sum(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables)


def refused(engine: Engine, statement: str, says: str = "never changes") -> None:
    with pytest.raises((Conflict, IntegrityError), match=says), engine.begin() as connection:
        connection.execute(text(statement))


def test_every_table_of_what_is_published_is_guarded(analytics: Settings) -> None:
    """Of each one all its columns, rows, and the table as a whole; INSERTs are `test_schema`'s."""
    from sensedict_server.database import opened

    hanging = {
        name
        for name, table in metadata.tables.items()
        if {"dictionary_id", "lexicon_id"} & set(table.c.keys()) and name not in ("aliases", "dictionaries")
    }
    assert hanging == {*OF_DICTIONARY, *OF_LEXICON}
    with opened(analytics) as engine:
        for name in [*hanging, "dictionaries", "lexicons"]:
            assert number_of_rows(engine, name), name
            for column in [column.name for column in metadata.tables[name].c]:
                if column not in ("state", "deprecated_at", "sunset_at"):
                    refused(engine, f'UPDATE {name} SET "{column}" = ' + changed(name, column))
            refused(engine, f"DELETE FROM {name}", "never changes|still referenced")
            refused(engine, f"TRUNCATE {name} CASCADE")
        for name in ("words", "id_maps", "tombstones", "history"):
            refused(engine, f"TRUNCATE {name} CASCADE")
        for name in ("dictionaries", "lexicons"):
            refused(engine, f"UPDATE {name} SET state = 'draft'")
            refused(engine, f"UPDATE {name} SET state = 'withdrawn'", "aliased as|leaves a tombstone")


def changed(table: str, column: str) -> str:
    """Another value of the column, in SQL; parts are guarded whatever it is."""
    if table not in ("dictionaries", "lexicons"):
        return f'"{column}"'
    kind = str(metadata.tables[table].c[column].type)
    if kind == "TEXT":
        return f"{column} || 'x'"
    if kind == "JSONB":
        return f"{column} || jsonb_build_object('x', 1)"
    return f"{column} + interval '1 day'" if "TIME" in kind else f"{column} + 1"


def test_rows_that_come_while_a_draft_is_published_come_before_or_not_at_all(
    database: Engine, settings: Settings, tiny_draft: Draft
) -> None:
    draft = publish(database, settings.files, tiny_draft, because=WHY, keep_draft=True)
    rename = text("UPDATE tokens SET text = 'changed' WHERE token_id = 5")
    with database.connect() as writer, ThreadPoolExecutor() as threads:
        writer.execute(rename)
        publishing = threads.submit(publish_draft, database, settings.files, "tiny@1", WHY)
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
        with database.connect() as looking:
            until(lambda: looking.execute(waits).scalar_one())
        writer.commit()
        published = publishing.result(timeout=60)
    assert published.content_hash == draft.content_hash  # of the vectors and the index, which are the same
    assert published.state == "published"
    refused(database, str(rename))
    import pyarrow.parquet as pq

    assert pq.read_table(settings.files / "tiny@1" / "tokens.parquet")["text"][5].as_py() == "changed"


def sensedict(settings: Settings, *arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments, env=environment_of(settings))
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_a_life_by_commands(
    database: Engine, settings: Settings, tiny_draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "GRACE", -1.0)
    why = ("--reason", "of course", "--by", "ada")
    for version in ("1", "2"):
        publish(database, settings.files, replace(tiny_draft, version=version))
    publish(database, settings.files, replace(tiny_draft, version="3"), because=WHY, keep_draft=True)
    with pytest.raises(Conflict, match="tiny@3 is a draft already: publish it with"):
        publish(database, settings.files, replace(tiny_draft, version="3"))
    with pytest.raises(Conflict, match="tiny@3 is a draft: an alias names what is published"):
        sensedict(settings, "dictionary", "alias", "tiny@prod", "3", *why)
    assert "tiny@3   draft" in sensedict(settings, "dictionary", "list")
    assert sensedict(settings, "dictionary", "publish", "tiny@3", *why).startswith("published tiny@3: ")
    assert sensedict(settings, "dictionary", "alias", "tiny@prod", "1", *why) == "tiny@prod is tiny@1 now\n"
    with pytest.raises(Conflict, match=r"dictionary tiny@1 is aliased as prod: move or remove that alias first"):
        sensedict(settings, "dictionary", "delete", "tiny@1", "--yes", *why)
    moved = sensedict(settings, "dictionary", "alias", "tiny@prod", "2", *why)
    assert moved == "tiny@prod is tiny@2 now, was tiny@1\n"
    for alias, says in (("1", "tiny@1 is or was a version: choose another alias"), ("a b", "alias 'a b': use at most")):
        with pytest.raises((Conflict, InvalidInput), match=says):
            sensedict(settings, "dictionary", "alias", f"tiny@{alias}", "2", *why)
    assert sensedict(settings, "dictionary", "deprecate", "tiny@1", "--sunset", "2099-01-31", *why)
    shown = sensedict(settings, "dictionary", "show", "tiny@1")
    assert shown.startswith("tiny@1  deprecated, until 2099-01-31\n")
    with pytest.raises(InvalidInput, match="the sunset 2001-01-31 is past"):
        sensedict(settings, "dictionary", "deprecate", "tiny@1", "--sunset", "2001-01-31", *why)

    dry = ("dictionary", "prune", "tiny", "--keep", "1", "--dry-run", *why)
    assert sensedict(settings, *dry) == "tiny@1\n1 would be deleted\n"
    uses = Uses()
    uses.note("tiny", "1", "trainer")
    uses.flush(database)
    assert sensedict(settings, *dry, "--unused-days", "1") == "there is nothing to delete\n"
    declined = CliRunner().invoke(
        cli, ["dictionary", "delete", "tiny@1", *why], env=environment_of(settings), input="n\n"
    )
    assert declined.exit_code == 1
    assert (settings.files / "tiny@1").is_dir()

    monkeypatch.setattr(removal, "ROWS", 7)
    out = sensedict(settings, "dictionary", "delete", "tiny@1", "--yes", *why)
    assert out.startswith("tiny@1 is deleted; its content hash was ")
    assert not (settings.files / "tiny@1").exists()
    left = number_of_rows(database, *OF_DICTIONARY)
    for ref in ("tiny@2", "tiny@3"):
        sensedict(settings, "files", "verify", ref)
    with database.connect() as connection:
        assert connection.execute(text("SELECT array_agg(version ORDER BY id) FROM dictionaries")).scalar() == [
            "2",
            "3",
        ]
        assert connection.execute(text("SELECT count(DISTINCT dictionary_id) FROM senses")).scalar_one() == 2
    assert left == 2 * (left // 2)
    with pytest.raises(
        DictionaryGone, match=r"tiny@1 was deleted on \d{4}-\d\d-\d\d \(of course\); its content hash was"
    ):
        sensedict(settings, "dictionary", "show", "tiny@1")
    with pytest.raises(Conflict, match=r"tiny@1 was deleted .*a version never comes back"):
        publish(database, settings.files, tiny_draft)
    refused(
        database,
        "INSERT INTO dictionaries SELECT 99, name, '1', lexicon_id, 'draft', teacher, teacher_hash, "
        "tokenizer_hash, vocabulary_size, dim, state_point, key_policy, k, settings, senses, tokens_with_senses, "
        "words_with_senses FROM dictionaries LIMIT 1",
        "tiny@1 was deleted, and a version never comes back",
    )
    events = json.loads(sensedict(settings, "dictionary", "history", "tiny@1", "--json"))
    assert [(event["action"], event["details"].get("alias")) for event in events] == [
        ("publish", None),
        ("alias", "latest"),
        ("unalias", "latest"),
        ("alias", "prod"),
        ("unalias", "prod"),
        ("deprecate", None),
        ("delete", None),
    ]
    assert {event["actor"] for event in events[3:]} == {"ada"}
    told = sensedict(settings, "dictionary", "history", "tiny@1").splitlines()
    assert told[0].split() == ["when", "what", "who", "why"]
    assert told[-1].split()[2:] == ["delete", "ada", "of", "course"]


def test_nobody_is_asked_about_what_is_refused(
    database: Engine, settings: Settings, tiny_draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(database, settings.files, tiny_draft)
    monkeypatch.setattr(click, "confirm", lambda question, **_options: pytest.fail(question))
    for error, says, *command in (
        (Conflict, "tiny@1 is aliased as latest", "dictionary", "delete", "tiny@1", "--reason", "disk"),
        (DictionaryNotFound, "there is no version tiny@9", "dictionary", "delete", "tiny@9", "--reason", "disk"),
        (InvalidInput, "write name@version", "dictionary", "delete", "tiny", "--reason", "disk"),
        (InvalidInput, "reason: say why", "dictionary", "delete", "tiny@1", "--reason", " "),
        (InvalidInput, "reason: say why", "dictionary", "prune", "tiny", "--keep", "1", "--reason", " "),
        (Conflict, "lexicon opposites@1 is used by tiny@1", "lexicon", "delete", "opposites@1", "--reason", "a claim"),
        (LexiconNotFound, "there is no lexicon opposites@9", "lexicon", "delete", "opposites@9", "--reason", "a claim"),
    ):
        with pytest.raises(error, match=says):
            sensedict(settings, *command)
    lifecycle.remove_alias(database, "tiny", "latest", WHY)
    monkeypatch.undo()
    delete = ["dictionary", "delete", "tiny@1", "--reason", "disk"]
    out = CliRunner().invoke(cli, delete, env=environment_of(settings), input="n\n").stdout
    assert out.startswith("Delete tiny@1 for good? [y/N]: n\n")
    with database.connect() as connection:  # to have looked is not to have done
        assert [event.action for event in history_of(connection, "dictionary", "tiny", "1")][-1] == "unalias"
        assert find_tombstone(connection, "dictionary", "tiny", "1") is None


def test_what_was_confirmed_is_what_is_pruned(
    database: Engine, settings: Settings, tiny_draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "GRACE", -1.0)
    for version in ("1", "2", "3"):
        publish(database, settings.files, replace(tiny_draft, version=version))
    prune = ("dictionary", "prune", "tiny", "--keep", "1", "--reason", "disk", "--by", "ada")

    def aliased_meanwhile(_question: str, **_options: Any) -> None:
        lifecycle.set_alias(database, "tiny", "prod", "1", WHY)

    with monkeypatch.context() as asked:
        asked.setattr(click, "confirm", aliased_meanwhile)
        with pytest.raises(
            Conflict, match="nothing of tiny is deleted: 1, 2 was confirmed, and 2 would be deleted now"
        ):
            sensedict(settings, *prune)
    assert sensedict(settings, "dictionary", "list").count("tiny@") == 3
    out = CliRunner().invoke(cli, prune, env=environment_of(settings), input="y\n").stdout
    assert out.startswith("tiny@2\nDelete these 1 for good? [y/N]: y\n1 are deleted\n")
    with database.connect() as connection:
        gone = find_tombstone(connection, "dictionary", "tiny", "2")
        assert gone is not None
        assert (gone.deleted_by, gone.reason) == ("ada", "disk")
    assert sensedict(settings, *prune, "--yes") == "there is nothing to delete\n"


def test_a_lexicon_goes_after_its_dictionaries(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    old = publish(database, settings.files, tiny_draft)
    new = publish(database, settings.files, replace(tiny_draft, version="2"))
    with database.begin() as connection:
        add_id_map(connection, old.id, new.id, {}, b"PAR1")
    refused(database, "DELETE FROM id_maps")
    with pytest.raises(Conflict, match="lexicon opposites@1 is used by tiny@1, tiny@2: delete that first"):
        sensedict(settings, "lexicon", "delete", "opposites@1", "--yes", "--reason", "a claim")
    lifecycle.remove_alias(database, "tiny", "latest", WHY)
    for version in ("1", "2"):
        lifecycle.withdraw(database, "dictionary", f"tiny@{version}", WHY)
        if version == "1":
            removing = removal.remove_withdrawn(database, "dictionary", older_than=-1.0, rows=20)
            assert next(removing) > 0  # and here the process is killed
            removing.close()
    sum(removal.remove_withdrawn(database, "dictionary", older_than=-1.0, rows=20))
    assert number_of_rows(database, *OF_DICTIONARY, "dictionaries", "id_maps") == 0
    out = sensedict(settings, "lexicon", "delete", "opposites@1", "--yes", "--reason", "a claim")
    assert out.startswith("opposites@1 is deleted; its hash was ")
    assert number_of_rows(database, *OF_LEXICON, "lexicons") == 0
    with pytest.raises(LexiconNotFound, match=r"the lexicon opposites@1 was deleted .*\(a claim\)"):
        sensedict(settings, "lexicon", "show", "opposites@1")
    refused(database, "INSERT INTO lexicons (name, version) VALUES ('opposites', '1')", "a version never comes back")


def test_a_draft_is_deleted_and_leaves_its_name(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    publish(database, settings.files, tiny_draft, because=WHY, keep_draft=True)
    assert "removed" in sensedict(settings, "dictionary", "delete", "tiny@1", "--yes", "--reason", "spoilt")
    assert not (settings.files / "tiny@1").exists()
    assert publish(database, settings.files, tiny_draft).state == "published"
    with pytest.raises(DictionaryNotFound, match="there is no draft tiny@9"):
        publish_draft(database, settings.files, "tiny@9", WHY)
    with pytest.raises(Conflict, match="tiny@1 is published already"):
        publish_draft(database, settings.files, "tiny@1", WHY)


def test_a_catalogue_forgets_what_is_deleted(database: Engine, settings: Settings, tiny_draft: Draft) -> None:
    publish(database, settings.files, tiny_draft)
    publish(database, settings.files, replace(tiny_draft, version="2"))
    catalogue = Catalogue(database, settings.files)
    first = catalogue.resolve("tiny@1")
    held = catalogue.snapshot(first)
    lifecycle.deprecate(database, "tiny@1", WHY)
    catalogue.refresh(database)
    assert catalogue.resolve("tiny@1").deprecated_at is not None
    lifecycle.withdraw(database, "dictionary", "tiny@1", WHY)
    assert catalogue.resolve("tiny@1").id == first.id  # not yet seen
    catalogue.refresh(database)
    with pytest.raises(DictionaryGone, match=r"\(a test\)"):
        catalogue.resolve("tiny@1")
    assert not (settings.files / "tiny@1").exists()
    assert held.get_senses(np.array([0])).shape == (1, 8)  # an answer that was on its way
    with pytest.raises(DictionaryGone):  # one that comes too late to open it does not bring the files back
        catalogue.snapshot(first)
    assert not (settings.files / "tiny@1").exists()
    catalogue.close()


def test_a_running_service_removes_what_is_deleted(
    database: Engine, settings: Settings, tiny_draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(database, settings.files, tiny_draft)
    publish(database, settings.files, replace(tiny_draft, version="2"), because=WHY, keep_draft=True)
    for module, name, value in ((upkeep, "REFRESH", 0.05), (upkeep, "FLUSH", 0.1), (upkeep, "GRACE", -1.0)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(removal, "GRACE", -1.0)
    lifecycle.remove_alias(database, "tiny", "latest", WHY)
    beside = upkeep.Upkeep(database, Catalogue(database, settings.files), uses := Uses())
    uses.note("tiny", "1", "ada")
    beside.start()
    for version in ("1", "2"):
        lifecycle.withdraw(database, "dictionary", f"tiny@{version}", WHY)
    until(
        lambda: not number_of_rows(database, *OF_DICTIONARY, "dictionaries") and not list(settings.files.glob("tiny@*"))
    )
    beside.close()
    with database.connect() as connection:
        assert [use.requests for use in uses_of(connection, "tiny", "1")] == [1]


@pytest.fixture
def keyed(database: Engine, settings: Settings, tiny_draft: Draft, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client without a key of a service that needs one; tiny@1 is published, tiny@2 a draft."""
    publish(database, settings.files, tiny_draft)
    publish(database, settings.files, replace(tiny_draft, version="2"), because=WHY, keep_draft=True)
    (tmp_path / "key").write_text("a" * 40)
    guarded = replace(settings, keys="required", admin_key_file=tmp_path / "key")
    with running_service(guarded, tmp_path / "log") as service, httpx.Client(base_url=service.url) as http:
        yield http
        service.process.terminate()
        service.process.wait(timeout=20)
    with database.connect() as connection:  # noted at the latest when the service ends
        assert {use.key_name for use in uses_of(connection, "tiny", "1")} == {"reader", "operator"}


def test_a_life_over_http(keyed: httpx.Client, settings: Settings, database: Engine) -> None:
    admin = {"Authorization": "Bearer " + "a" * 40}
    made = sensedict(settings, "keys", "create", "reader")
    reader = {"Authorization": "Bearer " + next(word for word in made.split() if word.startswith("sdk_"))}
    at = "/v1/dictionaries/tiny"

    def ask(method: str, path: str, headers: dict[str, str] = admin, **more: Any) -> httpx.Response:
        return keyed.request(method, path, headers=headers, **more)

    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"{at}@2:publish", {"json": {"reason": "good"}}),
        ("PUT", f"{at}/aliases/prod", {"json": {"version": "1", "reason": "good"}}),
        ("POST", f"{at}@1:deprecate", {"json": {"reason": "old", "sunset": "2099-01-31T00:00:00Z"}}),
        ("DELETE", f"{at}/aliases/prod", {"params": {"reason": "over"}}),
        ("POST", f"{at}:prune", {"json": {"reason": "over", "keep": 9, "unused_days": 0}}),
        ("DELETE", f"{at}@1", {"params": {"reason": "over"}}),
    ]
    for method, path, more in [*changes, ("GET", f"{at}@1/uses", {}), ("GET", "/v1/dictionaries?drafts=true", {})]:
        expect_problem(ask(method, path, reader, **more), 403, "forbidden")
    for path in ("", "/senses?word=hot", "/history"):
        expect_problem(ask("GET", f"{at}@2{path}", reader), 404, "dictionary-not-found", "has 1, latest")
        seen = ask("GET", f"{at}@2{path}")
        assert (seen.status_code, seen.headers.get("cache-control"), "etag" in seen.headers) != (200, None, True)
    assert ask("GET", f"{at}@2/senses?word=hot").headers["cache-control"] == "no-store"
    assert [info["version"] for info in ask("GET", "/v1/dictionaries?drafts=true").json()] == ["2", "1"]
    assert [info["version"] for info in ask("GET", "/v1/dictionaries").json()] == ["1"]
    unknown = keyed.head(f"{at}@1")
    assert (unknown.status_code, unknown.headers["www-authenticate"], unknown.content) == (401, _BEARER, b"")
    assert ask("HEAD", f"{at}@2", reader).status_code == 404
    assert ask("HEAD", f"{at}@2").status_code == 200
    kept = ask("GET", f"{at}@1/senses?word=hot", reader)
    assert kept.headers["cache-control"] == "private, max-age=31536000, immutable"

    expect_problem(ask("DELETE", "/v1/dictionaries/%00/aliases/a?reason=x"), 422, "invalid-input")
    for nobody in ("%00", "tyni"):
        nothing = ask("POST", f"/v1/dictionaries/{nobody}:prune", **changes[4][2])
        expect_problem(nothing, 404, "dictionary-not-found", "is published: `sensedict dictionary list`")

    answers = [ask(method, path, **more) for method, path, more in changes[:5]]
    assert [answer.status_code for answer in answers] == [200] * 5, [answer.text for answer in answers]
    assert answers[0].json()["state"] == "published"
    assert answers[1].json() == {"name": "tiny", "alias": "prod", "version": "1", "before": None}
    told = {"reason": "over", "keep": 1, "unused_days": 0}
    assert ask("POST", f"{at}:prune", json=told).json() == {"name": "tiny", "versions": ["1"], "deleted": False}
    others = ask("POST", f"{at}:prune", json={**told, "dry_run": False, "versions": ["0", "1"]})
    expect_problem(others, 409, "conflict", "0, 1 was confirmed, and 1 would be deleted now: look again with a dry run")
    for old in (ask("GET", f"{at}@1/tokens/1/senses", reader), ask("POST", f"{at}@1:getSenses", json={"ids": [0]})):
        assert old.status_code == 200, old.text
        assert old.headers["deprecation"].removeprefix("@").isdecimal()
        assert old.headers["sunset"] == "Sat, 31 Jan 2099 00:00:00 GMT"
    assert "deprecation" not in ask("GET", f"{at}@2").headers
    expect_problem(ask("DELETE", f"{at}@latest", params={"reason": "x"}), 404, "dictionary-not-found")
    expect_problem(ask("DELETE", f"{at}@2", params={"reason": "x"}), 409, "conflict", "aliased as latest")
    expect_problem(ask("DELETE", f"{at}@1", params={"reason": " "}), 422, "invalid-input", "say why")
    gone = ask("DELETE", f"{at}@1", params={"reason": "a claim"})
    hash_ = gone.json()["tombstone"]["content_hash"]
    expect_problem(ask("GET", f"{at}@1", reader), 410, "dictionary-gone", f"(a claim); its content hash was {hash_}")
    assert [event["action"] for event in ask("GET", f"{at}@1/history", reader).json()][-1] == "delete"
    assert [event.actor for event in history(database, "1")][-1] == "operator"
    assert ask("GET", f"{at}@1/uses").status_code == 200


def history(database: Engine, version: str) -> list[Any]:
    with database.connect() as connection:
        return list(history_of(connection, "dictionary", "tiny", version))


def test_uses_add_up_over_processes_and_outlive_an_outage(database: Engine) -> None:
    processes = [Uses(), Uses()]
    for uses in processes:
        for _ in range(3):
            uses.note("tiny", "1", "ada")
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE version_uses RENAME TO away"))
    with pytest.raises(Exception, match="does not exist"):
        processes[0].flush(database)
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO version_uses"))
    processes[0].note("tiny", "1", "ada")
    for uses in processes * 2:
        uses.flush(database)
    with database.connect() as connection:
        assert connection.execute(text("SELECT key_name, requests FROM version_uses")).all() == [("ada", 7)]


def test_a_client_warns_once_of_a_dictionary() -> None:
    headers = {"deprecation": "@1700000000", "sunset": "Sat, 31 Jan 2099 00:00:00 GMT"}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for what in ("tokens/1/senses", "tokens/2/senses?x=1", "history"):
            warn_of_retirement(f"http://a/v1/dictionaries/tiny@1/{what}", headers)
        warn_of_retirement("http://a/v1/dictionaries/tiny@1:getSenses", headers)
    assert len(told) == 1
    assert str(told[0].message).startswith(
        "http://a/v1/dictionaries/tiny@1 is deprecated since 2023-11-14 and to go on 2099-01-31"
    )


def test_what_is_compressed(service: Any) -> None:
    path = "/v1/dictionaries/tiny@1"
    gzip = {"Accept-Encoding": "gzip"}
    with httpx.Client(base_url=service.url) as http:
        assert "content-encoding" not in http.get(path, headers=gzip).headers  # it fits into a packet
        senses = http.get(f"{path}/relations?word=cold", headers=gzip)
        assert senses.headers["content-encoding"] == "gzip"
        assert senses.headers["etag"].startswith('W/"')
        assert "Accept-Encoding" in senses.headers["vary"]
        again = http.get(f"{path}/relations?word=cold", headers={**gzip, "If-None-Match": senses.headers["etag"]})
        assert again.status_code == 304
        as_tensors = {**gzip, "Accept": "application/vnd.safetensors"}
        body = http.post(f"{path}:getSenses", json={"ids": list(range(80))}, headers=as_tensors)
        assert len(body.content) > 1000
        assert "content-encoding" not in body.headers


def test_publish_alias_and_delete_at_once_leave_no_torn_read(
    database: Engine, settings: Settings, tiny_draft: Draft, tmp_path: Path
) -> None:
    """Every count, and every vector, of version v is v: an answer is of one version, whole, or 404, or 410."""

    def draft(version: int) -> Draft:
        token, word = tiny_draft.tokens, tiny_draft.words
        tokens = replace(token, counts=token.counts * 0 + version, vectors=np.full_like(token.vectors, version))
        words = replace(word, vectors=np.full_like(word.vectors, version))
        return replace(tiny_draft, version=str(version), tokens=tokens, words=words)

    publish(database, settings.files, draft(1))
    lifecycle.set_alias(database, "tiny", "prod", "1", WHY)
    stop = threading.Event()
    ids = {"ids": [0, 40, 80]}
    newest = [1]
    seen: set[Any] = set()

    def read(http: httpx.Client, ref: Callable[[], str]) -> int:
        answers = 0
        while not stop.is_set():
            asked = ref()
            for found, version in (
                (http.get(f"{asked}/senses?word=hot"), lambda body: [sense["count"] for sense in body["senses"]]),
                (http.post(f"{asked}:getSenses", json=ids), lambda body: list(chain(*body["vectors"]))),
            ):
                assert found.status_code in (200, 404, 410), found.text
                if found.status_code == 200:
                    values = version(found.json())
                    assert len(values) in (3, 24)
                    assert len(set(values)) == 1, values
                    if "prod" not in asked:
                        assert asked.endswith(f"@{int(values[0])}")
                seen.add(found.status_code)
                answers += 1
        return answers

    def change() -> None:
        for version in range(2, 6):
            publish(database, settings.files, draft(version))
            newest.append(version)
            lifecycle.set_alias(database, "tiny", "prod", str(version), WHY)
            lifecycle.withdraw(database, "dictionary", f"tiny@{version - 1}", WHY)
            sum(removal.remove_withdrawn(database, "dictionary", older_than=3.0))
            time.sleep(1.0)

    with running_service(settings, tmp_path / "log") as service, ThreadPoolExecutor() as threads:
        clients = [httpx.Client(base_url=service.url + "/v1/dictionaries", timeout=30) for _ in range(3)]
        last_but_one = lambda: f"tiny@{newest[-2:][0]}"  # noqa: E731
        refs: list[Callable[[], str]] = [lambda: "tiny@prod", lambda: "tiny@prod", last_but_one]
        readers = [threads.submit(read, http, ref) for http, ref in zip(clients, refs, strict=True)]
        try:
            change()
        finally:
            stop.set()
        assert all(reader.result(timeout=30) > 10 for reader in readers)
        for http in clients:
            http.close()
    assert seen >= {200, 410}
