"""Builds of a dictionary: from a tiny real teacher to published senses, interrupted, and with wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sqlalchemy import Engine
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from running_service import SENSEDICT, environment_of, quick_workers
from sensedict import arrays
from sensedict.cli import cli
from sensedict.errors import ConfigurationError, Conflict, InvalidInput, LexiconNotFound
from sensedict.fileset import VECTORS
from sensedict.snapshot import Snapshot
from sensedict_server.build import plan, planning
from sensedict_server.build.assemble import token_texts
from sensedict_server.build.identity import content_of
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.pipeline import build_dictionary, enter_build
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.sources import parse_source
from sensedict_server.build.store import Store, Stored
from sensedict_server.queries.builds import Build, Shard, builds_of, in_hand, shards_of
from sensedict_server.queries.dictionaries import find_dictionary, list_sources
from sensedict_server.settings import Settings
from sensedict_trainer.cluster import cluster
from sensedict_trainer.teacher import load_teacher
from sensedict_trainer.text import cut_windows, read_documents
from tiny_teacher import corpus, save_tiny_teacher
from until import until


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "tiny")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "corpus.jsonl"
    rows = [json.dumps({"id": f"s{i}", "text": sentence}) for i, sentence in enumerate(corpus(300, seed=1))]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture
def build(database: Engine, teacher_folder: Path, text: Path, tmp_path: Path) -> BuildSettings:
    """Settings of a build over a lexicon that is there."""
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("hot\twarm\tsynonym\nhot\tcold\tantonym\nday\tnight\tantonym\nhappy\tunhappy\tnegation\n", "utf-8")
    load_lexicon(database, "pairs", "1", Recipe([parse_source(f"typed:{pairs}"), parse_source("opposites")], []))
    return BuildSettings(
        teacher=str(teacher_folder),
        corpus=(str(text),),
        lexicon="pairs@1",
        name="tiny",
        version="1",
        k=3,
        window=32,
        cap=60,
        threads=1,
    )


def vectors_of(settings: Settings, ref: str) -> bytes:
    tensors, _ = arrays.decode((settings.files / ref / VECTORS).read_bytes())
    return tensors["vectors"].tobytes()


@pytest.mark.parametrize("key", ["next", "input", "predicted"])
def test_senses_are_the_clusters_of_the_teachers_states(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path, key: str
) -> None:
    """Built again, position by position and without batches."""
    build = replace(build, key=key)  # type: ignore[arg-type]
    dictionary, made = build_dictionary(database, settings.files, build, tmp_path / "work")
    assert made
    assert dictionary.key_policy == key
    teacher = load_teacher(build.teacher)
    states: dict[int, list[torch.Tensor]] = {}
    for window in cut_windows(read_documents([Path(path) for path in build.corpus]), teacher.tokenizer, build.window):
        ids = torch.from_numpy(window.ids.astype(np.int64)).unsqueeze(0)
        with torch.no_grad():
            hidden = teacher.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
            predicted = teacher.model(input_ids=ids).logits[0].argmax(-1)
        for i in range(len(window.ids)):
            if key == "next" and i + 1 == len(window.ids):
                continue
            token = int(predicted[i] if key == "predicted" else window.ids[i + (key == "next")])
            states.setdefault(token, []).append(hidden[i])
    with Snapshot.open(settings.files / dictionary.ref) as snapshot:
        sets = snapshot.candidate_sets(np.arange(teacher.vocabulary_size))
        with_senses = {token for token in range(teacher.vocabulary_size) if sets.own_count[token]}
        assert with_senses == set(states)
        rare = [token for token, found in states.items() if len(found) <= build.cap]
        assert len(rare) >= 10
        close = 0
        for token in rare:
            first, count = int(sets.own_first[token]), int(sets.own_count[token])
            got = torch.from_numpy(snapshot.get_senses(np.arange(first, first + count))).float()
            found = torch.stack(states[token]).half()
            expected = cluster(found, build.k, seed=build.seed * 1_000_003 + token).centroids
            assert count <= min(build.k, len(found))
            alike = got.shape == expected.shape
            close += alike and torch.allclose(got.sort(dim=0).values, expected.sort(dim=0).values, atol=2e-2)
        assert close >= 0.9 * len(rare)  # the last bit, which a batch changes, may tip the border of two clusters


def test_what_a_build_says_of_itself(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    lines: list[str] = []
    dictionary, _ = build_dictionary(database, settings.files, build, tmp_path / "work", say=lines.append)
    assert lines[0].endswith("weights not read")
    assert lines[1].startswith("corpus: ")
    listed = (tmp_path / "work" / "words-without-senses.tsv").read_text("utf-8").splitlines()
    assert listed[0] == "word\treason\ttokens"
    counted = [line for line in lines if line.startswith("words without senses: ")]
    assert sum(int(line.split()[3].replace(",", "")) for line in counted) == len(listed) - 1 > 0
    assert dictionary.settings["build"]["cap"] == 60
    manifest = json.loads((settings.files / dictionary.ref / "manifest.json").read_text())
    assert manifest["lexicon"] == "pairs@1"
    assert {source["name"] for source in manifest["sources"]} == {"typed:pairs", "opposites"}
    there, made = build_dictionary(database, settings.files, build, tmp_path / "work")
    assert not made
    assert there == dictionary
    with pytest.raises(Conflict, match=r"published already from other settings \(k 3 there, 4 now\)"):
        build_dictionary(database, settings.files, replace(build, k=4), tmp_path / "other")


def test_each_file_of_the_corpus_counts_and_so_does_their_order(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    paths = []
    for folder, seed in (("a", 5), ("b", 6)):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "text.txt")
        paths[-1].write_text(" ".join(corpus(40, seed=seed)))
    build = replace(build, corpus=tuple(map(str, paths)))
    build_dictionary(database, settings.files, build, tmp_path / "work")
    with pytest.raises(Conflict, match="other settings"):
        build_dictionary(database, settings.files, replace(build, corpus=build.corpus[::-1]), tmp_path / "work")
    paths[0].write_text(" ".join(corpus(40, seed=7)))
    with pytest.raises(Conflict, match="other settings"):
        build_dictionary(database, settings.files, build, tmp_path / "work")


def test_token_texts_keep_their_blank_whatever_the_tokenizer() -> None:
    backend = Tokenizer(
        models.BPE(
            vocab={"\u2581": 0, "a": 1, "b": 2, "\u2581a": 3, "ab": 4, "\u2581ab": 5},
            merges=[("\u2581", "a"), ("a", "b"), ("\u2581a", "b")],
        )
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert token_texts(tokenizer, 7) == [" ", "a", "b", " a", "ab", " ab", "<unused 6>"]


def test_contexts_show_the_token_that_was_predicted(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    import pyarrow.parquet as parquet

    dictionary, _ = build_dictionary(database, settings.files, build, tmp_path / "work")
    folder = settings.files / dictionary.ref
    owners = {row["sense_id"]: row["token_id"] for row in parquet.read_table(folder / "senses.parquet").to_pylist()}
    texts = {row["token_id"]: row["text"] for row in parquet.read_table(folder / "tokens.parquet").to_pylist()}
    contexts = parquet.read_table(folder / "contexts.parquet").to_pylist()
    assert len(contexts) > 50
    for row in contexts:
        assert row["text"][row["start"] : row["end"]] == texts[owners[row["sense_id"]]].strip()


def test_the_cap_and_the_seed_decide(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    found = {}
    for name, changed in {
        "a": build,
        "b": replace(build, batch_size=3),
        "c": replace(build, seed=1),
        "d": replace(build, cap=5),
    }.items():
        build_dictionary(database, settings.files, replace(changed, name=name), tmp_path / name)
        found[name] = vectors_of(settings, f"{name}@1")
    assert found["a"] != found["c"] != found["d"]
    same = np.frombuffer(found["a"], np.float16).astype(np.float32) - np.frombuffer(found["b"], np.float16)
    assert np.abs(same).max() < 0.02  # another batch, other rounding
    with Snapshot.open(settings.files / "d@1") as snapshot:
        assert snapshot.identity.senses < 6 * snapshot.identity.vocabulary_size


def test_builds_share_what_is_made_of_equal_content_alone(
    database: Engine, build: BuildSettings, text: Path, tmp_path: Path
) -> None:
    """How many windows run at once rounds otherwise, and `memory` decides which are in a shard."""
    content = content_of(build)
    for same in ({"device": "cuda"}, {"training_text": (str(text),)}):
        assert content_of(replace(build, **same)) == content  # type: ignore[arg-type]
    for differs in ({"batch_size": 3}, {"memory": 3_000_000_000}, {"threads": 2}):
        assert content_of(replace(build, **differs)) != content  # type: ignore[arg-type]
    first = enter_build(database, build, tmp_path / "work")
    assert isinstance(first, Build)
    Manifest(database, first.id).add(Shard("plan", "plan.00.safetensors", 1, "", 1, 0.1, "host:1"))
    work = f"file://{tmp_path}/x/../work/"  # the same folder
    for version, change, shared in (("2", {"memory": 3_000_000_000}, set()), ("3", {"device": "cuda"}, {"plan"})):
        other = enter_build(database, replace(build, version=version, **change), work)  # type: ignore[arg-type]
        assert set(Manifest(database, other.id).shards()) == shared


def command(build: BuildSettings, work: Path) -> list[str]:
    line = [
        *SENSEDICT,
        "build",
        "--teacher",
        build.teacher,
        "--corpus",
        build.corpus[0],
        "--lexicon",
        build.lexicon,
    ]
    line += ["--name", build.name, "--version", build.version, "--k", str(build.k), "--window", str(build.window)]
    return [*line, "--cap", str(build.cap), "--threads", str(build.threads), "--work", str(work)]


def test_a_build_keeps_its_threads_on_a_machine_with_other_cores(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = command(build, tmp_path / "work")[len(SENSEDICT) :]
    place = line.index("--threads")
    for machine in (3, 5):
        monkeypatch.setattr(plan, "cores", lambda machine=machine: machine)
        arguments = [*line[:place], *line[place + 2 :], "--queue"]
        done = CliRunner().invoke(cli, arguments, env=environment_of(settings), catch_exceptions=False)
        assert done.output.splitlines()[-1].startswith("job 1: ")
    with database.connect() as connection:
        assert [found.settings["threads"] for found in builds_of(connection, "tiny", "1")] == [3]


def test_the_memory_of_a_process_is_no_store_for_others(settings: Settings, build: BuildSettings) -> None:
    line = [*command(build, Path("work"))[len(SENSEDICT) :], "--work", "memory://work", "--queue"]
    done = CliRunner().invoke(cli, line, env=environment_of(settings))
    assert done.exit_code == 2
    assert "--queue leaves the work to other processes, and none shares memory://work" in done.output


def test_a_build_leaves_sources_out(database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path) -> None:
    lean = command(replace(build, version="lean"), tmp_path / "work")
    environment = {**os.environ, **environment_of(settings)}
    done = subprocess.run([*lean, "--without", "Apache*"], env=environment, capture_output=True, text=True, check=True)
    assert "lexicon: pairs@1-without-apache-" in done.stdout
    with database.connect() as connection:
        made = find_dictionary(connection, "tiny", "lean")
        assert made is not None
        assert made.lexicon.startswith("pairs@1-without-apache-")
        assert [source.name for source in list_sources(connection, made.lexicon_id)] == ["typed:pairs"]
    wrong = subprocess.run([*lean, "--without", "moby"], env=environment, capture_output=True, text=True, check=False)
    assert "cannot leave out 'moby': pairs@1 has the sources typed:pairs (not stated), opposites" in wrong.stderr


def test_killed_with_9_and_started_again(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SHARD_TOKENS", 400)
    monkeypatch.setattr(planning, "SHARD_STATES", 500)
    build_dictionary(database, settings.files, replace(build, name="whole"), tmp_path / "whole")
    work = tmp_path / "work"
    environment = {**environment_of(settings), **quick_workers(tmp_path / "site", shard_seconds=0.1)}
    process = subprocess.Popen(
        command(build, work), env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    until(lambda: len(list(work.glob("harvest/0/*.safetensors"))) >= 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with database.connect() as connection:
        assert find_dictionary(connection, build.name, build.version) is None
        assert [found.state for found in builds_of(connection, "tiny", "1")] == ["running"]
    finished = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    again = subprocess.run(command(build, work), env=environment, capture_output=True, text=True, check=True)
    assert "published tiny@1" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # what was done was not done again
    assert vectors_of(settings, "tiny@1") == vectors_of(settings, "whole@1")


def test_told_to_stop_it_stops_and_goes_on(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SHARD_TOKENS", 400)
    write = Store.write

    def stopping(store: Store, name: str, tensors: dict[str, np.ndarray]) -> Stored:
        if name == "harvest/0/000002":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # until the main thread has heard
        return write(store, name, tensors)

    monkeypatch.setattr(Store, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        build_dictionary(database, settings.files, build, tmp_path / "work")
    monkeypatch.setattr(Store, "write", write)
    with database.connect() as connection:
        (stopped,) = builds_of(connection, "tiny", "1")
        assert stopped.state == "running"
        assert in_hand(connection, stopped.id) == []  # given back, not left to be noticed
        made = shards_of(connection, stopped.id)
    assert {"plan", "harvest/0/000000", "harvest/0/000001"} <= set(made) < {*made, "harvest/0/000004"}
    dictionary, _ = build_dictionary(database, settings.files, build, tmp_path / "work")
    assert dictionary.ref == "tiny@1"


def test_a_folder_is_shared_by_builds_and_cleared_by_one(
    database: Engine, settings: Settings, build: BuildSettings, tmp_path: Path
) -> None:
    """Equal but for the types that train as antonymy, a build makes nothing anew but words."""
    work = tmp_path / "work"
    build_dictionary(database, settings.files, build, work)
    (work / "thesis.txt").write_text("do not remove")
    shards = set(work.rglob("*.safetensors"))
    again = replace(build, name="again", antonym_types=("antonym",))
    _, made = build_dictionary(database, settings.files, again, work)
    assert made
    assert set(work.rglob("*.safetensors")) == shards
    assert vectors_of(settings, "again@1") == vectors_of(settings, "tiny@1")
    build_dictionary(database, settings.files, replace(build, name="other", k=2), work, fresh=True)
    assert not shards & set(work.rglob("*.safetensors"))
    assert (work / "thesis.txt").read_text() == "do not remove"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lexicon": "nosuch@1"}, LexiconNotFound, "no lexicon nosuch@1.*pairs@1"),
        ({"lexicon": "pairs"}, InvalidInput, "name@version"),
        ({"name": "a/b"}, InvalidInput, "dictionary name 'a/b'"),
        ({"k": 0}, InvalidInput, "k is 0"),
        ({"memory": 1000}, InvalidInput, r"memory is 1\.0 kB: it is at least 10\.0 MB"),
        ({"version": "latest"}, InvalidInput, "would hide the alias"),
        ({"antonym_types": ("opposite",)}, InvalidInput, "no relations of type 'opposite', it has antonym, negation"),
        ({"seed": 2**40}, InvalidInput, "seed is 1099511627776: it is at most"),
        ({"cap": 2}, InvalidInput, "cap is 2 and k 3"),
        ({"window": 257}, InvalidInput, "window is 257, and .*tiny reads 256 tokens at most"),
        ({"corpus": ("nosuch.txt",)}, InvalidInput, r"nosuch\.txt: there is no such file"),
        ({"device": "nosuch"}, ConfigurationError, "the device 'nosuch' cannot be used: "),
        ({"teacher": "/nosuch/folder"}, ConfigurationError, "there is no folder /nosuch/folder"),
    ],
)
def test_wrong_settings_leave_nothing(
    database: Engine,
    settings: Settings,
    build: BuildSettings,
    tmp_path: Path,
    change: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        build_dictionary(database, settings.files, replace(build, **change), tmp_path / "work")  # type: ignore[arg-type]
    assert not (tmp_path / "work").exists()
    with database.connect() as connection:
        assert find_dictionary(connection, build.name, build.version) is None
