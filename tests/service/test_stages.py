"""Stages of a build with a real teacher, one shard at a time: what is kept, and what happens to damaged files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sqlalchemy import Engine

from harvested import anew, open_workplace
from sensedict.errors import ConfigurationError, Corrupt, InvalidInput, Mismatch, NotFinite, Unavailable
from sensedict_server.build import planning
from sensedict_server.build.identity import content_of
from sensedict_server.build.jobs import missing
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.manifest import Manifest
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.sources import parse_source
from sensedict_server.build.stages import LostShard, Workplace, run, stages
from sensedict_server.queries.builds import Shard
from sensedict_server.queries.dictionaries import find_dictionary
from sensedict_trainer.harvest import KeyPolicy
from sensedict_trainer.hashing import mix, sequence_key
from sensedict_trainer.reservoir import keep
from sensedict_trainer.teacher import load_teacher
from sensedict_trainer.text import TokenWindow, cut_windows
from sensedict_trainer.text_sources import read_documents
from small_disk import small_disk
from tiny_teacher import corpus, save_tiny_teacher


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "tiny", layers=2)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    rows = [json.dumps({"id": f"s{i}", "text": sentence}) for i, sentence in enumerate(corpus(200, seed=1))]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, teacher_folder: Path, text: Path) -> BuildSettings:
    """Settings of a build of several shards."""
    monkeypatch.setattr(planning, "SHARD_TOKENS", 500)
    monkeypatch.setattr(planning, "SHARD_STATES", 400)
    return BuildSettings(
        str(teacher_folder), (str(text),), "pairs@1", "tiny", "1", k=3, window=32, cap=40, first=20, threads=1
    )


Open = Callable[[BuildSettings], Workplace]


@pytest.fixture
def opened(database: Engine, tmp_path: Path) -> Open:
    """A build of some settings, of which nothing is made."""
    load_lexicon(database, "pairs", "1", Recipe([parse_source("opposites")], []))
    return lambda settings: open_workplace(database, tmp_path / settings.version, settings, content_of(settings))


def go_on(workplace: Workplace, until: str = "") -> None:
    """Make what is missing, a stage after the other, up to shards of that stage."""
    while left := missing(stages(workplace), workplace.manifest.shards()):
        if left[0].startswith(until or "-"):
            return
        for shard in left:
            run(shard, anew(workplace))


def go_on_patiently(workplace: Workplace) -> int:
    """As `go_on`, where shards are lost; gives how many attempts at a shard came to nothing."""
    vain = 0
    while left := missing(stages(workplace), workplace.manifest.shards()):
        for shard in left:
            try:
                run(shard, anew(workplace))
            except LostShard:
                vain += 1
                break
        assert vain < 20
    return vain


def clusters_of(workplace: Workplace) -> dict[str, str]:
    """sha256 of each shard of clusters."""
    return {name: made.sha256 for name, made in anew(workplace).made.items() if name.startswith("cluster/")}


def states_of(workplace: Workplace) -> dict[str, NDArray[Any]]:
    """Everything harvested, by window and position."""
    place = anew(workplace)
    found = [place.read(name) for name in sorted(place.made) if name.startswith("harvest/")]
    tensors = {name: np.concatenate([part[name] for part in found]) for name in found[0] if not name.startswith("sum")}
    order = np.lexsort((tensors["positions"], tensors["windows"]))
    return {name: tensor[order] for name, tensor in tensors.items()}


def windows_of(build: BuildSettings) -> list[TokenWindow]:
    return cut_windows(read_documents(build.corpus), load_teacher(build.teacher).tokenizer, build.window, build.tokens)


@pytest.mark.parametrize(
    ("key", "state_point"), [("next", "final_norm"), ("input", "layer:1"), ("predicted", "final_norm")]
)
def test_the_harvest_holds_the_states_of_a_bottom_k_sample_of_each_key(
    opened: Open, build: BuildSettings, key: KeyPolicy, state_point: str
) -> None:
    build = replace(build, key=key, state_point=state_point)
    workplace = opened(build)
    go_on(workplace, until="cluster")
    found, windows = states_of(workplace), windows_of(build)
    positions = sample(build, windows)
    places = [(w, p) for w, some in enumerate(positions) for p in some.tolist()]
    assert list(zip(found["windows"].tolist(), found["positions"].tolist(), strict=True)) == places
    keys, vectors = expected(build, windows[:40], positions[:40])
    assert found["keys"][: len(keys)].tolist() == keys.tolist()
    ours = found["vectors"][: len(keys)].astype(np.float32)
    assert np.abs(ours - vectors).max() < 0.02  # another batch, other rounding


def sample(build: BuildSettings, windows: list[TokenWindow]) -> list[NDArray[np.int64]]:
    """Positions of each window that are kept, chosen in memory all at once."""
    if build.key == "predicted":
        return [np.arange(len(window.ids)) for window in windows]
    keys = [window.ids[build.key == "next" :] for window in windows]
    draws = [
        mix(sequence_key(build.seed, window.id, "reservoir"), np.arange(len(some)))
        for window, some in zip(windows, keys, strict=True)
    ]
    chosen = keep(np.concatenate(keys), np.concatenate(draws), build.cap)
    return [np.flatnonzero(some) for some in np.split(chosen, np.cumsum([len(some) for some in keys])[:-1])]


def expected(
    build: BuildSettings, windows: list[TokenWindow], positions: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Keys and states, window by window, from the model itself."""
    teacher = load_teacher(build.teacher)
    layer = 1 if build.state_point == "layer:1" else -1  # the last is after the norm
    keys, vectors = [], []
    for window, some in zip(windows, positions, strict=True):
        with torch.inference_mode():
            out = teacher.model(torch.from_numpy(window.ids[None].astype(np.int64)), output_hidden_states=True)
        likeliest = out.logits[0].argmax(dim=-1).numpy()
        keys.append({"next": window.ids[1:], "input": window.ids, "predicted": likeliest}[build.key][some])
        vectors.append(out.hidden_states[layer][0, torch.from_numpy(some)].numpy())
    return np.concatenate(keys).astype(np.int32), np.concatenate(vectors)


@pytest.mark.parametrize("change", [{}, {"mode": "streaming"}, {"allocation": "adaptive", "k_most": 5}])
def test_all_stages_make_a_dictionary(
    database: Engine, opened: Open, build: BuildSettings, change: dict[str, Any]
) -> None:
    build = replace(build, **change)
    workplace = opened(build)
    go_on(workplace)
    with database.connect() as connection:
        made = find_dictionary(connection, "tiny", "1")
    assert made is not None
    known = stages(workplace)
    names = [stage.name for stage in known]
    assert names[0] == "plan"
    assert names[-1] == "publish"
    assert ("harvest/3" in names) == (build.mode == "streaming")
    assert ("allocate" in names) == (build.allocation == "adaptive")
    shards = anew(workplace).made
    assert sorted(shards) == sorted(name for stage in known for name in stage.sizes)
    occurrences = anew(workplace).read("plan")["occurrences"]
    keys = np.concatenate([window.ids[1:] for window in windows_of(build)])
    assert occurrences.tolist() == np.bincount(keys, minlength=len(occurrences)).tolist()
    clusters = [anew(workplace).read(name) for name in shards if name.startswith("cluster/")]
    owners = np.concatenate([part["owners"] for part in clusters])
    assert made.senses >= len(owners)  # and those of words
    assert set(owners.tolist()) == set(keys.tolist())
    if build.mode == "streaming":
        summing = [name for name in shards if name.startswith("harvest/") and "sums" in anew(workplace).read(name)]
        summed = sum(int(anew(workplace).read(name)["sum_counts"].sum()) for name in summing)
        assert summed == sum(part["summed"] for part in shards["plan"].facts["harvest"].values()) > 0


def test_what_comes_later_is_added_to_the_nearest_settled_sense(opened: Open, build: BuildSettings) -> None:
    """One shard of the last generation, state by state."""
    build = replace(build, mode="streaming")
    workplace = opened(build)
    go_on(workplace, until="cluster/3")
    place = anew(workplace)
    shard, plan = "harvest/3/000001", place.read("plan")
    part = place.made["plan"].facts["harvest"][shard]
    windows = windows_of(build)[part["first_window"] :][: part["windows"]]
    senses: dict[int, NDArray[np.float32]] = {}
    for name in (name for name in place.made if name.startswith("cluster/")):
        found = place.read(name)
        senses |= {int(w): found["vectors"][found["owners"] == w].astype(np.float32) for w in found["owners"]}
    sums = {w: np.zeros_like(vectors) for w, vectors in senses.items()}
    counts = {w: np.zeros(len(vectors), dtype=np.int64) for w, vectors in senses.items()}
    keys, states = expected(build, windows, [np.arange(len(window.ids) - 1) for window in windows])
    for key, state in zip(keys.tolist(), states, strict=True):
        if plan["settled"][key] < 3:
            nearest = np.square(state - senses[key]).sum(axis=1).argmin()
            counts[key][nearest] += 1
            sums[key][nearest] += state - senses[key][nearest]
    written = place.read(shard)
    at = list(zip(written["sum_owners"].tolist(), written["sum_ordinals"].tolist(), strict=True))
    assert {place: int(n) for place, n in zip(at, written["sum_counts"], strict=True)} == {
        (w, i): int(n) for w, some in counts.items() for i, n in enumerate(some) if n
    }
    for (w, ordinal), row in zip(at, written["sums"], strict=True):
        assert np.abs(row - sums[w][ordinal]).max() < 0.02 * counts[w][ordinal]


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    middle = len(content) // 2
    if how == "flipped":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif how == "cut short":
        path.write_bytes(content[:middle])


@pytest.mark.parametrize(
    ("victim", "how", "reader"),
    [
        ("harvest/0/000000", "flipped", "cluster"),
        ("harvest/0/000001", "cut short", "cluster"),
        ("cluster/0/000001", "gone", "publish"),
        ("plan", "cut short", "harvest"),
        ("tokens/0/000002", "flipped", "harvest"),
    ],
)
def test_a_damaged_file_is_made_again(opened: Open, build: BuildSettings, victim: str, how: str, reader: str) -> None:
    workplace = opened(build)
    go_on(workplace, until=reader)
    place = anew(workplace)
    tokens = victim.startswith("tokens")
    before = place.made["plan" if tokens else victim]
    file = before.facts["token_files"][victim.replace("tokens", "harvest")]["file"] if tokens else before.file
    damage(Path(workplace.build.store) / file, how)
    lost: list[LostShard] = []
    for shard in missing(stages(workplace), place.made):
        try:
            run(shard, anew(workplace))
        except LostShard as error:
            lost.append(error)
    assert {error.name for error in lost} == {before.name}
    assert file in lost[0].detail
    assert missing(stages(workplace), workplace.manifest.shards()) == [before.name]
    go_on(workplace)
    assert "publish" in workplace.manifest.shards()
    again = workplace.manifest.shards()[before.name]
    assert again.file != before.file
    assert again.sha256 == before.sha256


def test_a_place_that_loses_everything_is_named_at_the_third_time(opened: Open, build: BuildSettings) -> None:
    workplace = opened(build)
    go_on(workplace, until="harvest")
    for error in (LostShard, LostShard, Corrupt):
        damage(Path(workplace.build.store) / anew(workplace).made["plan"].file, "gone")
        with pytest.raises(error) as raised:
            run("harvest/0/000000", anew(workplace))
        assert isinstance(raised.value, LostShard) == (error is LostShard)
        run("plan", anew(workplace))
    assert raised.match(rf"plan of tiny@1 was damaged 3 times.*{workplace.store.url} loses what is written to it")


def files_of(workplace: Workplace) -> set[str]:
    root = Path(workplace.build.store)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_files_that_are_gone_together_are_made_again_together(opened: Open, build: BuildSettings) -> None:
    workplace = opened(build)
    go_on(workplace, until="cluster")
    made = anew(workplace).made
    gone = [name for name in made if name.startswith("harvest/")][:6]
    for name in gone:
        damage(Path(workplace.build.store) / made[name].file, "gone")
    with pytest.raises(LostShard, match="is made again, and 5 more whose files are gone"):
        run("cluster/0/000000", anew(workplace))
    assert missing(stages(workplace), workplace.manifest.shards()) == gone
    assert go_on_patiently(workplace) == 0


@pytest.mark.parametrize("reader", ["cluster/0/000000", "curves/0/000000", "allocate", "publish", "harvest/0/000000"])
def test_whoever_misses_the_plan_has_it_made_again(opened: Open, build: BuildSettings, reader: str) -> None:
    workplace = opened(replace(build, allocation="adaptive" if reader[0] in "ca" else "fixed", k_most=5))
    go_on(workplace, until=reader.partition("/")[0])
    workplace.manifest.lose(anew(workplace).made["plan"])
    with pytest.raises(LostShard) as raised:
        run(reader, anew(workplace))
    assert raised.value.name == "plan"


def test_a_plan_that_is_made_again_and_cut_otherwise(
    opened: Open, build: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made of other windows or tokens under the same name is not taken for what is meant now."""
    workplace = opened(build)
    go_on(workplace, until="publish")
    before = files_of(workplace)
    workplace.manifest.lose(anew(workplace).made["plan"])
    monkeypatch.setattr(planning, "SHARD_TOKENS", 700)
    monkeypatch.setattr(planning, "SHARD_STATES", 300)
    run("plan", anew(workplace))
    assert set(workplace.manifest.shards()) == {"plan"}
    assert {file for file in files_of(workplace) & before if not file.startswith(("plan", "tokens"))} == set()
    assert go_on_patiently(workplace) == 0
    other = opened(replace(build, version="2"))
    go_on(other)
    assert clusters_of(workplace) == clusters_of(other)


def test_a_plan_that_is_made_again_while_a_shard_of_the_old_one_is_being_made(
    opened: Open, build: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_again(_units: int) -> None:
        if "plan" in workplace.manifest.shards() and planning.SHARD_TOKENS == 500:
            workplace.manifest.lose(anew(workplace).made["plan"])
            monkeypatch.setattr(planning, "SHARD_TOKENS", 700)
            run("plan", anew(workplace))

    workplace = opened(build)
    go_on(workplace, until="harvest")
    run("harvest/0/000001", replace(workplace, advance=plan_again))
    assert "harvest/0/000001" in workplace.manifest.shards()
    assert go_on_patiently(workplace) == 1
    other = opened(replace(build, version="2"))
    go_on(other)
    assert clusters_of(workplace) == clusters_of(other)


def test_what_is_lost_leaves_no_file_unless_another_build_has_it(opened: Open, build: BuildSettings) -> None:
    workplace = opened(build)
    go_on(workplace, until="cluster")
    made = anew(workplace).made
    other = replace(workplace, manifest=opened(replace(build, version="2")).manifest)
    for name in ("plan", "harvest/0/000001"):
        other.manifest.add(made[name])
    tokens = {stored["file"] for stored in made["plan"].facts["token_files"].values()}
    for place, left in ((workplace, True), (other, False)):
        anew(place).lost(made["harvest/0/000001"], Corrupt("damaged"))
        anew(place).lost(made["plan"], Corrupt("damaged"))
        found = {made["plan"].file, made["harvest/0/000001"].file, *tokens} & files_of(workplace)
        assert len(found) == (2 + len(tokens) if left else 0)


def test_a_database_that_is_away_when_a_shard_is_added_leaves_no_file(
    opened: Open, build: BuildSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_manifest: Manifest, _shard: Shard) -> bool:
        raise Unavailable("the database cannot be reached")

    workplace = opened(build)
    go_on(workplace, until="harvest")
    before = files_of(workplace)
    monkeypatch.setattr(Manifest, "add", away)
    with pytest.raises(Unavailable):
        run("harvest/0/000000", anew(workplace))
    assert files_of(workplace) == before


def test_of_two_attempts_the_first_counts_and_the_second_leaves_no_file(opened: Open, build: BuildSettings) -> None:
    workplace = opened(build)
    for shard in ("plan", "harvest/0/000000", "cluster/0/000000"):
        go_on(workplace, until=shard.partition("/")[0])
        first, second = anew(workplace), anew(workplace)
        assert shard not in first.made
        assert shard not in second.made
        run(shard, first)
        before = files_of(workplace)
        run(shard, second)
        assert files_of(workplace) == before
        assert workplace.manifest.shards()[shard].file in before


def test_text_that_changes_after_the_plan_changes_nothing(opened: Open, build: BuildSettings, text: Path) -> None:
    one, other = opened(build), opened(replace(build, version="2"))
    go_on(one)
    go_on(other, until="harvest")
    text.unlink()
    go_on(other)
    shards = [
        {name: made.sha256 for name, made in anew(place).made.items() if name != "publish"} for place in (one, other)
    ]
    plans = [shards[0].pop("plan"), shards[1].pop("plan")]
    assert shards[0] == shards[1]
    assert plans[0] == plans[1]


def test_text_that_changes_before_the_plan_is_made_is_refused(opened: Open, build: BuildSettings, text: Path) -> None:
    workplace = opened(build)
    with text.open("a") as stream:
        stream.write(json.dumps({"text": "The water was cold and the night was dark when the king was there."}) + "\n")
    with pytest.raises(
        InvalidInput, match=r"the corpus of tiny@1 was changed after the build had begun: start it again"
    ):
        run("plan", workplace)
    assert files_of(workplace) == set()


def test_a_plan_that_is_lost_with_its_text(opened: Open, build: BuildSettings, text: Path) -> None:
    """Where the hash of the sources does not tell, as of a stream, what was harvested does."""
    workplace = opened(build)
    go_on(workplace, until="cluster")
    workplace.manifest.lose(anew(workplace).made["plan"])
    text.write_text("\n".join(text.read_text().splitlines()[:-1]) + "\n")
    changed = replace(workplace, build=replace(workplace.build, content=content_of(build)))
    with pytest.raises(
        Corrupt, match=r"gives other tokens now than when harvest/0/00000\d was made: start it again with"
    ):
        run("plan", changed)


def test_a_disk_that_is_full_in_the_middle(opened: Open, build: BuildSettings, tmp_path: Path) -> None:
    with small_disk(tmp_path / build.version, "4m") as disk:
        workplace = opened(build)
        go_on(workplace, until="harvest")
        before = files_of(workplace)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as stream:
            os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(disk).free)
        with pytest.raises(ConfigurationError, match=rf"{disk}/store/harvest/0/000000\..* cannot be written: No space"):
            run("harvest/0/000000", anew(workplace))
        assert files_of(workplace) == before
        filler.unlink()
        go_on(workplace, until="publish")


def test_room_for_what_is_left_to_write_is_enough_and_files_of_other_builds_are_none(
    opened: Open, build: BuildSettings, tmp_path: Path
) -> None:
    (tmp_path / "1").mkdir()
    with small_disk(tmp_path / "1" / "store", "4m") as disk:
        workplace = opened(build)
        go_on(workplace, until="cluster")
        written = sum(made.bytes for made in anew(workplace).made.values())
        workplace.manifest.lose(anew(workplace).made["plan"])
        other = replace(opened(replace(build, version="2")), store=workplace.store)
        with (disk / "filler").open("wb", buffering=0) as stream:
            os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(disk).free - written)
        with pytest.raises(ConfigurationError, match=rf"the build needs [\d.]+ kB in {disk}, where [\d.]+ kB are free"):
            run("plan", other)
        run("plan", anew(workplace))


def test_stopped_at_any_moment_nothing_half_made_is_left(opened: Open, build: BuildSettings) -> None:
    class Stop(Exception):
        pass

    def stop(units: int) -> None:
        nonlocal ticks
        ticks -= 1
        if not ticks:
            raise Stop

    workplace = opened(replace(build, batch_size=2))
    for shard in ("plan", "harvest/0/000000"):
        go_on(workplace, until=shard.partition("/")[0])
        before = files_of(workplace)
        for moment in (1, 2, 3, 5, 8):
            ticks = moment
            with pytest.raises(Stop):
                run(shard, replace(workplace, advance=stop))
            assert files_of(workplace) == before
        assert shard not in workplace.manifest.shards()


def test_states_beyond_float16_are_named_and_not_written(opened: Open, build: BuildSettings, tmp_path: Path) -> None:
    folder = save_tiny_teacher(tmp_path / "loud", layers=1)
    teacher = load_teacher(str(folder))
    with torch.no_grad():
        teacher.model.model.norm.weight.mul_(1e6)
    teacher.model.save_pretrained(folder)
    workplace = opened(replace(build, teacher=str(folder)))
    go_on(workplace, until="harvest")
    before = files_of(workplace)
    with pytest.raises(
        NotFinite, match=r"hidden state \(final_norm\) at position \d+ of window \d+ of the corpus is NaN, infinite or"
    ):
        run("harvest/0/000001", workplace)
    assert files_of(workplace) == before


def test_another_teacher_than_the_builds_is_refused(opened: Open, build: BuildSettings, tmp_path: Path) -> None:
    folder = save_tiny_teacher(tmp_path / "here", layers=1)
    workplace = opened(replace(build, teacher=str(folder)))
    go_on(workplace, until="harvest")
    save_tiny_teacher(folder, layers=1, seed=7)
    with pytest.raises(Mismatch, match="of here:1 is not the one that tiny@1 was begun with: weights"):
        run("harvest/0/000000", workplace)


def test_a_teacher_whose_folder_was_written_anew_is_read_anew(
    opened: Open, build: BuildSettings, tmp_path: Path
) -> None:
    """A worker that lives long has the old one in memory."""
    folder = save_tiny_teacher(tmp_path / "here", layers=1)
    one = opened(replace(build, teacher=str(folder)))
    go_on(one, until="cluster")
    save_tiny_teacher(folder, layers=1, seed=7)
    other = opened(replace(build, teacher=str(folder), version="2"))
    go_on(other, until="cluster")
    shards = [anew(place).made["harvest/0/000000"].sha256 for place in (one, other)]
    assert shards[0] != shards[1]
    one.manifest.lose(anew(one).made["harvest/0/000000"])
    with pytest.raises(Mismatch, match="is not the one that tiny@1 was begun with"):
        run("harvest/0/000000", anew(one))
    save_tiny_teacher(folder, layers=1)
    run("harvest/0/000000", anew(one))
    assert anew(one).made["harvest/0/000000"].sha256 == shards[0]


def test_the_first_shard_of_a_process_tells_how_long_it_will_take(opened: Open, build: BuildSettings) -> None:
    said: list[str] = []
    workplace = replace(opened(build), say=said.append)
    go_on(workplace, until="cluster")
    left = sum(part["run_tokens"] for part in anew(workplace).made["plan"].facts["harvest"].values())
    assert said[0].startswith("corpus: ")
    times = [line for line in said if line.startswith("time: ")]
    assert len(times) == 1
    assert f"minutes for the pass, {left:,} tokens at " in times[0]
