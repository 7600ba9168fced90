"""Experiments: cells made once by whoever comes first, gone on with after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from file_set_factory import write_manifest
from running_service import SENSEDICT
from sensedict.errors import ConfigurationError, InvalidInput, NotFinite
from sensedict.fileset import MANIFEST, Manifest, hash_file
from sensedict.snapshot import Snapshot
from sensedict_trainer.distil.draws import Sampling, by_token, draw
from sensedict_trainer.evaluate import TextScores
from sensedict_trainer.experiments import grid
from sensedict_trainer.experiments.cells import cells_of, read_tuned
from sensedict_trainer.experiments.command import experiment as command
from sensedict_trainer.experiments.controls import one_centroid, shuffled, without_synonyms
from sensedict_trainer.experiments.engine import check_finite, curve_of, summary_of
from sensedict_trainer.experiments.grid_command import grid as grid_command
from sensedict_trainer.experiments.material import Dictionaries, describe_task
from sensedict_trainer.experiments.reading import load_experiment
from sensedict_trainer.experiments.store import Store
from sensedict_trainer.results import read_json_lines
from sensedict_trainer.tasks.registry import load_tasks
from sensedict_trainer.text import text_hash
from tiny_teacher import corpus
from tiny_training import make_dictionary, make_teacher

RECIPE = "lr=1e-2\nepochs=2\nbatch_size=4\nwindow=24\nminimum=3\nnearest=2\nneighbours=2\n[kl]\ntemperature=1.0\n"
TINY = """
title = "Tiny"
measures = ["kl", "ce", "training_seconds", "state_bytes"]
primary = ["kl"]
against = ["kd"]

[[conditions]]
name = "teacher"
model = "teacher"

[[conditions]]
name = "kd"
label = "KD"
set = { objective = "kd" }

[[conditions]]
name = "stored"
set = { objective = "ce + kl" }
states = { kind = "logits", count = 3 }

[[conditions]]
name = "dskd"
label = "DSKD"
set = { objective = "dskd" }

[[axes]]
name = "p"
conditions = ["dskd"]
settings = ["nearest"]
values = [1, 2]

[paper]
columns = ["ARC"]

[paper.rows]
kd = ["77.89 ± 0.42"]
"""


class Room:
    """A tiny teacher with text, a dictionary and an experiment, in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        teacher = make_teacher(folder / "teacher")
        self.files = make_dictionary(folder / "sets", teacher)
        manifest = Manifest.from_json((self.files / MANIFEST).read_text())
        senses = np.arange(manifest.identity.senses)
        pq.write_table(pa.table({"sense_id": senses, "count": senses % 4}), self.files / "senses.parquet")
        entries = {**manifest.files, "senses.parquet": hash_file(self.files / "senses.parquet")}
        write_manifest(self.files, replace(manifest, files=entries))
        texts = corpus(40)
        for name, part in (("train", texts[:24]), ("held", texts[24:])):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in part))
        (folder / "recipe.toml").write_text(RECIPE)
        (folder / "tiny.toml").write_text(TINY)

    def arguments(self, out: str, *more: str, held_out: bool = True) -> list[str]:
        """Of `sensedict experiment`, on these files."""
        return [
            *("--teacher", str(self.folder / "teacher"), "--text", str(self.folder / "train.jsonl")),
            *(("--held-out", str(self.folder / "held.jsonl")) if held_out else ()),
            *("--snapshot", str(self.files), "--recipe", str(self.folder / "recipe.toml"), "--threads", "1"),
            *("--out", str(self.folder / out), *more),
        ]

    def run(self, out: str, *more: str) -> str:
        """What the tiny experiment says."""
        result = CliRunner().invoke(
            command, [str(self.folder / "tiny.toml"), *self.arguments(out, *more)], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return result.output

    def cells(self, out: str) -> dict[str, Any]:
        """The finished cells by file."""
        found = sorted((self.folder / out / "cells").glob("*.json"))
        return {path.name: json.loads(path.read_text()) for path in found}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    torch.set_num_threads(1)
    return Room(tmp_path_factory.mktemp("room"))


def test_a_killed_run_of_two_processes_is_gone_on_with(room: Room) -> None:
    done = room.folder / "killed" / "cells"
    started = [
        *SENSEDICT,
        "experiment",
        str(room.folder / "tiny.toml"),
        *room.arguments("killed", "--seeds", "0,1", "--jobs", "2"),
    ]
    process = subprocess.Popen(
        started, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 300
    while len(list(done.glob("*.json"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in done.glob("*.json")}
    after = room.run("killed", "--seeds", "0,1")
    assert len(before) > 2
    assert all((done / name).stat().st_mtime_ns == time for name, time in before.items())
    whole = room.run("whole", "--seeds", "0,1")
    cells, undisturbed = room.cells("killed"), room.cells("whole")
    assert len(cells) == 1 + 2 * 4
    assert {name: cell["text"] for name, cell in cells.items()} == {n: cell["text"] for n, cell in undisturbed.items()}
    made = [line.partition(":")[0] for line in (said + after).splitlines() if ": CE " in line]
    assert len(made) == len(set(made)), "a cell that was finished was made again"
    counts = [line.rpartition("; ")[2] for line in whole.splitlines() if ": CE " in line]
    assert counts == [f"{number} of {len(cells)} cells" for number in range(1, len(cells) + 1)]
    assert not list((room.folder / "killed").glob("runs/*/student")), "students are not kept"
    assert not list((room.folder / "killed").rglob("*.tmp"))


def test_a_table_has_ours_beside_the_papers(room: Room) -> None:
    room.run("whole", "--seeds", "0,1")
    output = room.run("whole", "--seeds", "0,1")
    assert ": CE " not in output, "everything was finished"
    report = room.folder / "whole" / "tiny"
    text = (report / "report.md").read_text()
    cells = room.cells("whole")
    logits = [cell for cell in cells.values() if "state_bytes" in cell["costs"]]
    assert [cell["costs"]["state_bytes"] for cell in logits] == [18, 18]
    kd = [c for c in cells.values() if c["identity"]["made"].get("recipe", {}).get("objective") == "kd"]
    mean = sum(cell["text"]["kl"] for cell in kd) / 2
    line = next(line for line in text.splitlines() if line.startswith("| KD "))
    assert f"{mean:.4f} ±" in line
    assert "77.89 ± 0.42" in line
    for named in (
        "DSKD, p=1 − KD",
        "At equal wall-clock",
        "may be slower, times",
        "figures/tiny.svg",
        "content_hash",
        "command",
    ):
        assert named in text
    assert "77.89 $\\pm$ 0.42" in (report / "table.tex").read_text()
    made = json.loads((report / "experiment.json").read_text())["made"]["text"]
    assert (made["training documents"], made["held-out documents"]) == (23, 16), "one text is too short for a window"
    lines = (report / "cells.csv").read_text().splitlines()
    assert len(lines) == 1 + len(cells)
    assert all(len(cell["curve"]) >= 4 for cell in kd)
    assert kd[0]["curve"][-1][0] == pytest.approx(kd[0]["costs"]["training_seconds"], rel=0.05)
    tuned = room.folder / "tuned.toml"
    tuned.write_text("[dskd]\n[kd]\n[stored]\n[kdd]\n")
    output = room.run("whole", "--seeds", "0,1", "--tuned", str(tuned))
    assert "has settings for kdd: no conditions of tiny" in output
    assert ": CE " not in output, "empty tables are the recipe's settings"
    tuned.write_text("[dskd]\n")
    with pytest.raises(InvalidInput, match="has no settings for kd, stored, which would stand untuned"):
        room.run("whole", "--seeds", "0,1", "--tuned", str(tuned))
    dry = room.run("whole", "--seeds", "0,1,2", "--dry-run")
    assert "13 cells, 4 to do" in dry
    assert "in one process" in dry


def test_a_folder_of_other_results_and_text_that_is_trained_on_are_refused(room: Room) -> None:
    room.run("other", "--seeds", "0")
    with pytest.raises(ConfigurationError, match=r"results of another teacher or training text .*training text"):
        room.run("other", "--seeds", "0", "--train-tokens", "60")
    arguments = room.arguments("trained-on", "--seeds", "0", held_out=False)
    with pytest.raises(InvalidInput, match="is trained on"):
        CliRunner().invoke(
            command,
            [str(room.folder / "tiny.toml"), *arguments, "--held-out", str(room.folder / "train.jsonl")],
            catch_exceptions=False,
        )
    (room.folder / "foreign").mkdir()
    (room.folder / "foreign" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds something else"):
        Store(room.folder / "foreign", {})
    new = room.folder / "new"
    new.mkdir()
    (new / ".identity.json.tmp").write_text("{")  # another process is about to say whose the folder is
    Store(new, {"teacher": "x"})


def test_a_loss_that_is_no_number_ends_its_cell_alone(room: Room) -> None:
    text = "title = 'x'\nseeds = 1\n"
    for name, weight in (("broken", 1e39), ("kd", 1.0)):
        text += f"[[conditions]]\nname = '{name}'\nset = {{ objective = 'kd', 'kl.weight' = {weight} }}\n"
    (room.folder / "broken.toml").write_text(text)
    arguments = [str(room.folder / "broken.toml"), *room.arguments("broken")]
    first, second = (CliRunner().invoke(command, arguments, catch_exceptions=False) for _ in range(2))
    assert first.exit_code == second.exit_code == 0, first.output
    assert "broken, seed 0: " in first.output
    assert "kd, seed 0: CE" in first.output
    assert "seed 0: " not in second.output, "neither is tried again"
    assert "and they have no results: broken, seed 0." in (room.folder / "broken" / "broken" / "report.md").read_text()


def test_a_missing_dictionary_names_the_build(room: Room) -> None:
    wanted = load_experiment("table4")
    with (
        Dictionaries(None, room.files, {}, wanted.build) as dictionaries,
        pytest.raises(ConfigurationError, match=r"'k=15'.*sensedict build --k 15.*--variant k=15:FOLDER"),
    ):
        dictionaries.get("k=15")


def test_the_grid_chooses_on_text_set_aside(room: Room) -> None:
    out = room.arguments("grid", "--seeds", "0", held_out=False)
    result = CliRunner().invoke(
        grid_command, [str(room.folder / "tiny.toml"), "--share", "0.2", *out], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    tuned = room.folder / "grid" / "tiny" / "tuned.toml"
    by_p = {c["identity"]["made"]["recipe"]["nearest"]: c["text"]["kl"] for c in room.cells("grid").values()}
    assert tomllib.loads(tuned.read_text()) == {"dskd": {"nearest": min(by_p, key=lambda p: by_p[p])}}
    chosen = cells_of(load_experiment("review"), "demo", [0], tuned=read_tuned(tuned))
    assert {cell.recipe.nearest for cell in chosen if cell.condition.base == "dskd"} == set(
        tomllib.loads(tuned.read_text())["dskd"].values()
    )
    with pytest.raises(InvalidInput, match="no axes"):
        next(grid.stages(load_experiment("review")))


def test_the_grid_chooses_on_text_that_is_given(room: Room) -> None:
    """Chats show one another as examples, so that no part of them can be set aside."""
    quoting = room.folder / "quoting.jsonl"
    quoting.write_text((room.folder / "train.jsonl").read_text() * 2)
    alone = room.arguments("quoting", "--seeds", "0", held_out=False)
    alone[alone.index("--text") + 1] = str(quoting)
    with pytest.raises(InvalidInput, match=r"no part can be set aside for tuning: give such a part by --tuning"):
        CliRunner().invoke(grid_command, [str(room.folder / "tiny.toml"), *alone], catch_exceptions=False)
    room.run("whole", "--seeds", "0,1")
    before = room.cells("whole")
    given = [*room.arguments("whole", "--seeds", "0", held_out=False), "--tuning", str(room.folder / "held.jsonl")]
    CliRunner().invoke(grid_command, [str(room.folder / "tiny.toml"), *given], catch_exceptions=False)
    assert room.cells("whole") == before
    recipes = [(cell["identity"]["made"].get("recipe", {}), cell["text"]["kl"]) for cell in before.values()]
    by_p = {r["nearest"]: kl for r, kl in recipes if "sense" in r and r["seed"] == 0}
    tuned = tomllib.loads((room.folder / "whole" / "tiny" / "tuned.toml").read_text())
    assert tuned == {"dskd": {"nearest": min(by_p, key=lambda p: by_p[p])}}


def test_a_task_that_is_added_later_takes_no_new_training(room: Room) -> None:
    text = "title = 'x'\nseeds = 1\n[[conditions]]\nname = 'kd'\nset = { objective = 'kd' }\n"
    (room.folder / "later.toml").write_text(text)
    rows = [{"goal": f"open {i}", "sol1": "hot", "sol2": "cold", "label": i % 2} for i in range(4)]
    (room.folder / "piqa_validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [str(room.folder / "later.toml"), *room.arguments("later", "--keep-students")]
    for more in ([], ["--task-data", str(room.folder), "--task", "piqa/letter"]):
        said = CliRunner().invoke(command, [*arguments, *more], catch_exceptions=False).output
    assert "piqa/letter is scored, and later has no column of it" in said
    before, after = sorted(room.cells("later").values(), key=lambda cell: len(cell["tasks"]))
    assert [score["name"] for score in after["tasks"]] == ["piqa/letter"]
    assert before["tasks"] == []
    for known in ("text", "curve"):
        assert after[known] == before[known], "the same run to the last bit, its times too"
    assert len(list((room.folder / "later" / "runs").iterdir())) == 1
    again = after["checks"]["piqa/letter"]["asked_again"]
    assert (again["questions"], again["differing"]) == (4, [])
    answers = read_json_lines(next((room.folder / "later" / "answers").iterdir()))
    assert [answer["right"] for answer in answers] == after["tasks"][0]["right"]
    report = (room.folder / "later" / "later" / "report.md").read_text()
    for named in ("differ at batch 1 |", "0 of 4 |", "4 of 4, by the seed 0", "tasks.piqa/letter.prompts"):
        assert named in report


def test_kept_students_are_scored_on_other_text_without_new_training(room: Room) -> None:
    held = room.folder / "held.jsonl"
    other = room.folder / "other.jsonl"
    other.write_text("".join(reversed(held.read_text().splitlines(keepends=True)[4:])))
    (room.folder / "texts.toml").write_text(
        "title = 'x'\nseeds = 1\n[[conditions]]\nname = 'kd'\nset = { objective = 'kd' }\n"
    )

    def said(text: Path) -> str:
        arguments = room.arguments("texts", "--keep-students", "--held-out", str(text), held_out=False)
        return CliRunner().invoke(command, [str(room.folder / "texts.toml"), *arguments], catch_exceptions=False).output

    assert ": CE " in said(held)
    assert ": CE " in said(other)
    assert ": CE " not in said(held)
    second, first = sorted(room.cells("texts").values(), key=lambda cell: cell["text"]["positions"])
    for cost in ("training_seconds", "frozen_seconds"):
        assert first["costs"][cost] == second["costs"][cost], "the same run"
    assert len(first["curve"]) > 4
    assert second["curve"] == [], "the run's own curve is of the other text"


def test_a_curve_is_of_one_text_or_there_is_none() -> None:
    step = {"tokens": 30, "tokens_per_second": 20.0}
    scored = {**step, "held_out": {"ce": 2.0, "kl": 1.0}, "held_out text": text_hash([])}
    assert curve_of([step, scored], []) == ((3.0, 2.0, 1.0),)
    assert curve_of([step, {**scored, "held_out text": "before it was stopped"}, scored], []) == ()


def test_a_cell_knows_which_questions_it_was_asked(tmp_path: Path) -> None:
    def write(name: str, answer: int) -> None:
        rows = [{"goal": f"{name} {i}", "sol1": "a", "sol2": "b", "label": answer} for i in range(6)]
        (tmp_path / f"piqa_{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def described(shots: int, seed: int, limit: int | None) -> str:
        (task,) = load_tasks(["piqa/letter"], tmp_path, shots, seed, limit)
        return json.dumps(describe_task(task))

    write("validation", 0)
    write("train", 0)
    few = {described(0, seed, 3) for seed in range(4)}
    assert len(few) == 4, "questions chosen by another seed are others"
    before = described(6, 0, None)
    write("train", 1)
    assert described(6, 0, None) != before, "examples that say something else, under the same names"


def test_scores_that_are_no_numbers_are_told() -> None:
    good = np.array([1.0, 2.0])
    text = TextScores(np.array([3, 4]), good, good, good, good)
    check_finite(text)
    with pytest.raises(NotFinite, match="the kl on the held-out text is nan"):
        check_finite(replace(text, kl=np.array([1.0, np.nan])))


def test_a_history_is_summed_up_over_steps_that_have_less() -> None:
    row = {"step": 1, "tokens": 8, "positions": 7, "tokens_per_second": 4.0, "loss": 2.0}
    found = summary_of([{**row, "hinge_active": 0.5}, {**row, "hinge_active": 0.25}, row])
    assert (found["hinge_active"], found["loss"]) == (0.375, 2.0)
    assert "step" not in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("measures = ['klx']", "no measure 'klx'"),
        ("measures = ['kl']\nprimary = ['ce']", "primary measure 'ce'"),
        ("measures = ['arc_esy/letter']", "did you mean arc_easy"),
        ("measures = ['squad_v2/letter#exact_match']", "squad_v2 has no form 'letter'"),
        ("measures = ['evaluation_seconds/arc']", "'evaluation_seconds/arc' is of no data set"),
        ("measures = ['pooled']", "names no tasks to pool"),
        ("measures = ['pooled']\npooled = ['piqa/contination']", "did you mean continuation"),
    ],
)
def test_a_column_that_no_cell_can_have_is_told_before_they_are_made(room: Room, text: str, message: str) -> None:
    (room.folder / "columns.toml").write_text(f"title = 'x'\n{text}\n[[conditions]]\nname = 'kd'")
    found = CliRunner().invoke(command, [str(room.folder / "columns.toml"), *room.arguments("columns")])
    assert isinstance(found.exception, InvalidInput)
    assert re.search(message, found.exception.detail)
    assert not (room.folder / "columns").exists()


def test_a_shuffled_dictionary_gives_everybody_anothers_senses(room: Room) -> None:
    with Snapshot.open(room.files) as dictionary:
        derived, again, other = shuffled(dictionary), shuffled(dictionary), shuffled(dictionary, seed=1)
        tokens = np.flatnonzero(dictionary.index.token_count).astype(np.int64)
        before, after = dictionary.candidate_sets(tokens), derived.candidate_sets(tokens)
        assert np.array_equal(before.own_count, after.own_count)
        assert np.array_equal(before.synonyms.first, after.synonyms.first)
        sizes = dictionary.index.token_count[tokens]
        moved = 0
        for token, first, size in zip(tokens, before.own_first, sizes, strict=True):
            ids = np.arange(first, first + size)
            # Of the tiny words "w0" and "w1" nobody may know; of sizes that one owner has, nobody can move.
            if (sizes == size).sum() > 1:
                assert not np.array_equal(dictionary.get_senses(ids), derived.get_senses(ids)), token
                moved += 1
        assert moved > 20
        assert sorted(map(bytes, dictionary.vectors)) == sorted(map(bytes, derived.vectors))
        assert np.array_equal(derived.vectors, again.vectors)
        assert not np.array_equal(derived.vectors, other.vectors)
        hashes = {source.identity.content_hash for source in (dictionary, derived, other)}
        assert len(hashes) == 3
        assert derived.identity == again.identity


def test_one_centroid_is_the_mean_of_the_states(room: Room) -> None:
    with Snapshot.open(room.files) as dictionary:
        derived = one_centroid(dictionary)
        tokens = np.flatnonzero(dictionary.index.token_count).astype(np.int64)
        sets, own = derived.candidate_sets(tokens), dictionary.candidate_sets(tokens)
        assert (sets.own_count == 1).all()
        assert derived.identity.k == 1
        assert len(np.unique(sets.own_first)) == len(tokens)
        for place in range(len(tokens)):
            ids = np.arange(own.own_first[place], own.own_first[place] + own.own_count[place])
            weights = (ids % 4).astype(np.float64)  # as senses.parquet has them
            weights = weights if weights.sum() else np.ones(len(ids))
            mean = (dictionary.get_senses(ids).astype(np.float64) * weights[:, None]).sum(0) / weights.sum()
            assert derived.get_senses(sets.own_first[place : place + 1])[0] == pytest.approx(mean, abs=2e-3)
        neighbours = own.synonyms.first.tolist()
        assert len(set(sets.synonyms.first.tolist())) == len(set(neighbours))
        asked = sets.synonyms.first[:1] if len(neighbours) else sets.own_first[:1]
        assert derived.get_senses(asked).shape == (1, dictionary.identity.dim)


def test_without_synonyms_the_same_positions_have_own_senses(room: Room) -> None:
    with Snapshot.open(room.files) as dictionary:
        derived = without_synonyms(dictionary)
        tokens = np.arange(dictionary.identity.vocabulary_size)
        whole, own = (by_token(source.candidate_sets(tokens)) for source in (dictionary, derived))
        sampling = Sampling(fraction=0.5, minimum=3, neighbours=2, seed=0)
        before, after = (draw("a text", tokens, candidates, sampling) for candidates in (whole, own))
        assert np.array_equal(before.positions, after.positions)
        assert before.related == after.related > 0
        assert len(after.ids) < len(before.ids)
        for place, position in enumerate(after.positions):
            first, count = own[int(position)].own
            positives = after.ids[after.positive[place] : after.negative[place]]
            assert positives.tolist() == [*range(first, first + count)]
            negatives = [d.ids[d.negative[place] : d.positive[place + 1]] for d in (before, after)]
            assert np.array_equal(*negatives)
        assert derived.identity.content_hash != dictionary.identity.content_hash
