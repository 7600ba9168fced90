"""Shards of clusters put together and published: what a vocabulary's senses are after all states, and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from sqlalchemy import Engine
from transformers import PreTrainedTokenizerBase

from harvested import Harvester, V, anew, open_workplace, real_uses, some_uses
from sensedict import arrays
from sensedict.errors import ConfigurationError, Conflict, Mismatch
from sensedict.fileset import hash_file
from sensedict_server.build.assemble import Assembled, assemble
from sensedict_server.build.clusters import cluster_shard, seed_of
from sensedict_server.build.identity import content_of
from sensedict_server.build.lexicon import load_lexicon
from sensedict_server.build.lexicon_plan import Recipe
from sensedict_server.build.plan import BuildSettings
from sensedict_server.build.publish_draft import publish_draft
from sensedict_server.build.publish_shard import publish_shard, published
from sensedict_server.build.scratch import scratch_vectors
from sensedict_server.build.sources import parse_source
from sensedict_server.build.workplace import LostShard
from sensedict_server.lifecycle import Because
from sensedict_server.queries.dictionaries import Dictionary, find_dictionary
from sensedict_server.settings import Settings
from sensedict_trainer.cluster import cluster
from sensedict_trainer.teacher import Teacher, load_teacher
from sensedict_trainer.text import cut_windows, read_documents
from tiny_teacher import corpus, save_tiny_teacher


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_teacher(tmp_path_factory.mktemp("teacher") / "tiny")


@pytest.fixture(scope="module")
def teacher(teacher_folder: Path) -> Teacher:
    return load_teacher(str(teacher_folder))


@pytest.fixture(scope="module")
def tokenizer(teacher: Teacher) -> PreTrainedTokenizerBase:
    return teacher.tokenizer


def made_of(made: Harvester, tokenizer: PreTrainedTokenizerBase) -> Assembled:
    """Harvest and cluster a generation after the other, and put it together."""
    made.write_plan()
    for generation in range(max(made.generations) + 1):
        for name, _, _ in made.shards:
            if name.startswith(f"harvest/{generation}/"):
                made.write_harvest(name)
        for name in made.clusters:
            if name.startswith(f"cluster/{generation}/"):
                cluster_shard(name, anew(made.workplace))
    return assemble(anew(made.workplace), tokenizer, made.vocabulary_size)


STREAMING = BuildSettings(
    teacher="none",
    corpus=(),
    lexicon="l@1",
    name="n",
    version="1",
    k=3,
    mode="streaming",
    first=30,
    contexts=2,
)


def streamed(database: Engine, folder: Path, ranges: tuple[tuple[int, int], ...], version: str = "1") -> Harvester:
    workplace = open_workplace(database, folder, replace(STREAMING, version=version), {})
    cuts, generations = [0, 10, 20, 30, 45], [0, 0, 1, 2, 2]
    return Harvester(workplace, some_uses(), cuts, generations, ranges, V)


def test_streamed_senses_are_the_means_of_all_states_that_came_near(
    database: Engine, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    made = streamed(database, tmp_path, ((0, 4), (4, V)))
    uses, stored, settled = made.uses, made.stored(), made.settled()
    assert set(settled.tolist()) == {-1, 0, 1, 2}
    found = made_of(made, tokenizer).tokens
    assert found.occurrences.tolist() == np.bincount(uses.keys, minlength=V).tolist()
    grown = 0
    for token in np.flatnonzero(settled >= 0).tolist():
        own = uses.keys == token
        first = np.flatnonzero(own & stored)
        later = np.flatnonzero(own & (made.generation_of_uses() > settled[token]))
        begun = cluster(torch.from_numpy(uses.vectors[first]), 3, seed_of(0, token))
        senses = begun.centroids.half().double()
        after = torch.cdist(torch.from_numpy(uses.vectors[later]).double(), senses).argmin(dim=1)
        states = np.concatenate([uses.vectors[first], uses.vectors[later]]).astype(np.float64)
        labels = np.concatenate([begun.labels.numpy(), after.numpy()])
        counts = np.bincount(labels, minlength=len(senses))
        order = np.argsort(-counts, kind="stable")
        rows = slice(found.offsets[token], found.offsets[token + 1])
        assert found.counts[rows].tolist() == counts[order].tolist()
        means = np.stack([states[labels == sense].mean(axis=0) for sense in order])
        spread = [np.square(states[labels == sense] - mean).mean() for sense, mean in zip(order, means, strict=True)]
        np.testing.assert_allclose(found.vectors[rows], means, atol=8e-3)  # a float16 between 4 and 8
        np.testing.assert_allclose(found.inertia[rows], spread, rtol=1e-2, atol=1e-5)
        grown += len(later)
    assert found.counts.sum() == stored.sum() + grown
    assert grown > 100


def test_the_cut_of_the_tokens_does_not_matter_to_streams(
    database: Engine, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    one = made_of(streamed(database, tmp_path / "a", ((0, V),)), tokenizer)
    two = made_of(streamed(database, tmp_path / "b", ((0, 1), (1, 3), (3, 9), (9, V)), "2"), tokenizer)
    for name, value in vars(one.tokens).items():
        other = getattr(two.tokens, name)
        same = value.tobytes() == other.tobytes() if isinstance(value, np.ndarray) else list(value) == list(other)
        assert same, name
    assert one.clustered.tolist() == two.clustered.tolist()
    assert one.lone.tolist() == two.lone.tolist()


def test_a_flipped_bit_in_the_sums_or_in_the_tokens_is_noticed(
    database: Engine, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    made = streamed(database, tmp_path, ((0, 4), (4, V)))
    made_of(made, tokenizer)
    workplace = anew(made.workplace)
    name = made.shards[-1][0]
    path = tmp_path / "store" / workplace.made[name].file
    whole = path.read_bytes()
    at = arrays.layout(whole[: arrays.header_bytes(whole)])["sums"].begin + 5
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(LostShard, match=f"{name} is made again"):
        assemble(workplace, tokenizer, V)
    made.write_harvest(name)
    workplace = anew(made.workplace)
    file = workplace.made["plan"].facts["token_files"][name]["file"]
    (tmp_path / "store" / file).unlink()
    with pytest.raises(LostShard, match=f"{file} is gone; plan is made again"):
        assemble(workplace, tokenizer, V)


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot hold .* bytes of vectors .* make room"):
        scratch_vectors((1 << 45, 64), tmp_path)
    assert not list(tmp_path.iterdir())


def a_build(
    database: Engine, settings: Settings, folder: Path, teacher: Teacher, teacher_folder: Path, **changed: Any
) -> tuple[Harvester, list[str]]:
    """A build of real states that is clustered, and what it says."""
    text = folder / "corpus.txt"
    text.write_text("\n".join(corpus(60, seed=3)), "utf-8")
    pairs = folder / "pairs.tsv"
    pairs.write_text("hot\twarm\tsynonym\nhot\tcold\tantonym\nhappy\tunhappy\tnegation\n", "utf-8")
    load_lexicon(database, "pairs", "1", Recipe([parse_source(f"typed:{pairs}")], []))
    chosen = BuildSettings(
        teacher=str(teacher_folder), corpus=(str(text),), lexicon="pairs@1", name="tiny", version="1", k=3, window=16
    )
    chosen = replace(chosen, **{"cap": 40, **changed})
    windows = cut_windows(read_documents(chosen.corpus), teacher.tokenizer, chosen.window)
    uses = real_uses(teacher, windows, chosen.key)
    lines: list[str] = []
    workplace = open_workplace(database, folder, chosen, content_of(chosen))
    workplace = replace(workplace, files_root=settings.files, say=lines.append)
    made = Harvester(workplace, uses, [0, 20], [0, 0], [(0, 90), (90, 400)], 400)
    made.write_plan()
    for name, _, _ in made.shards:
        made.write_harvest(name)
    for name in made.clusters:
        cluster_shard(name, anew(workplace))
    return made, lines


def test_a_build_may_leave_a_draft(
    database: Engine, settings: Settings, tmp_path: Path, teacher: Teacher, teacher_folder: Path
) -> None:
    made, _ = a_build(database, settings, tmp_path, teacher, teacher_folder, draft=True)
    for _ in range(2):  # killed after it was stored, it is found
        publish_shard("publish", anew(made.workplace))
    with database.connect() as connection:
        assert find_dictionary(connection, "tiny", "1") is None
        draft = find_dictionary(connection, "tiny", "1", drafts=True)
    assert draft is not None
    assert draft.state == "draft"
    published = publish_draft(database, settings.files, "tiny@1", Because("ada", "looked at"))
    assert published.content_hash == draft.content_hash
    publish_shard("publish", anew(made.workplace))  # a build of the same that is to publish has nothing to do


def found_in(database: Engine) -> Dictionary:
    with database.connect() as connection:
        found = find_dictionary(connection, "tiny", "1")
    assert found is not None
    return found


@pytest.mark.parametrize("key", ["next", "predicted"])
def test_a_published_build_and_its_report(
    database: Engine, settings: Settings, tmp_path: Path, teacher: Teacher, teacher_folder: Path, key: str
) -> None:
    made, lines = a_build(database, settings, tmp_path, teacher, teacher_folder, key=key)
    publish_shard("publish", anew(made.workplace))
    found, uses = found_in(database), made.uses
    shard = anew(made.workplace).made["publish"]
    assert shard.file == found.ref == "tiny@1"
    assert shard.bytes == (settings.files / "tiny@1" / "manifest.json").stat().st_size
    report = found.settings["build_report"]
    assert sum(keys for _, keys, _ in report["keys_by_states"]) == len(np.unique(uses.keys)) == found.tokens_with_senses
    assert sum(states for _, _, states in report["keys_by_states"]) == np.minimum(np.bincount(uses.keys), 40).sum()
    assert (report["mode"], report["workers"], set(report["seconds"])) == ("exact", 1, {"plan", "harvest", "cluster"})
    folder = settings.files / found.ref
    clusters = np.array(parquet.read_table(folder / "tokens.parquet")["sense_count"].to_pylist())
    fewer = clusters < np.minimum(np.bincount(uses.keys, minlength=400), made.workplace.settings.k)
    assert fewer.any() or key == "next"
    assert report["collapsed_tokens"] == fewer.sum()
    assert any(line.startswith("tokens with fewer senses than they have states") for line in lines) == fewer.any()
    occurrences = parquet.read_table(folder / "tokens.parquet")["occurrences"].to_pylist()
    assert occurrences == np.bincount(uses.keys, minlength=400).tolist()
    contexts = parquet.read_table(folder / "contexts.parquet")
    assert len(contexts) > 50
    own = positions = 0
    vectors = arrays.decode((folder / "vectors.safetensors").read_bytes())[0]["vectors"].astype(np.float64)
    tokens = parquet.read_table(folder / "tokens.parquet").to_pylist()
    for row, (window, position) in enumerate(zip(uses.windows.tolist(), uses.positions.tolist(), strict=True)):
        if position + 1 < len(uses.tokens[window]):
            target = tokens[uses.tokens[window][position + 1]]
            senses = vectors[target["first_sense"] : target["first_sense"] + target["sense_count"]]
            state = uses.vectors[row].astype(np.float64)
            own += bool((np.square(senses - state).mean(axis=1) < 1e-6 * np.square(state).mean()).any())
            positions += 1
    assert report["own_states"]["positions"] == positions
    assert report["own_states"]["own"] == own
    assert (own > 10) == (key == "next")
    assert f"training on the corpus: own state among the senses of the target: {own:,} of {positions:,}" in lines[-1]


@pytest.mark.parametrize("moment", ["words", "tables"])
def test_publishing_is_stopped_while_words_are_composed_and_tables_written(
    database: Engine, settings: Settings, tmp_path: Path, teacher: Teacher, teacher_folder: Path, moment: str
) -> None:
    class Stop(Exception):
        pass

    def stop(_units: int) -> None:
        composing = [line.split(":")[0] for line in lines] == ["senses"]
        if composing if moment == "words" else list(settings.files.rglob("senses.parquet")):
            raise Stop

    made, lines = a_build(database, settings, tmp_path, teacher, teacher_folder)
    with pytest.raises(Stop):
        publish_shard("publish", replace(made.workplace, advance=stop))
    with database.connect() as connection:
        assert find_dictionary(connection, "tiny", "1") is None
    assert not [path for path in settings.files.iterdir() if path.name != ".tiny@1.lock"]


def test_published_twice(
    database: Engine, settings: Settings, tmp_path: Path, teacher: Teacher, teacher_folder: Path
) -> None:
    made, _ = a_build(database, settings, tmp_path, teacher, teacher_folder, contexts=0, training_text=("",))
    other = tmp_path / "other.txt"
    other.write_text("\n".join(corpus(20, seed=9)), "utf-8")
    made = replace(
        made,
        workplace=replace(
            made.workplace,
            build=replace(
                made.workplace.build, settings={**made.workplace.build.settings, "training_text": [str(other)]}
            ),
        ),
    )
    publish_shard("publish", anew(made.workplace))
    before = found_in(database)
    assert not len(parquet.read_table(settings.files / "tiny@1" / "contexts.parquet"))
    of_other = before.settings["build_report"]["own_states"]
    assert of_other["text"] == [["other.txt", hash_file(other).sha256]]
    windows = cut_windows(read_documents([str(other)]), teacher.tokenizer, 16)
    assert of_other["positions"] == sum(len(window.ids) - 1 for window in windows)
    publish_shard("publish", anew(made.workplace))
    assert found_in(database) == before
    content = dict(made.workplace.build.content or {})
    assert published(database, "tiny", "1", content) == before
    with pytest.raises(Conflict, match=r"other settings \(k 3 there, 4 now\): choose another version"):
        published(database, "tiny", "1", {**content, "k": 4})
    assert not [path for path in settings.files.iterdir() if path.name not in ("tiny@1", ".tiny@1.lock")]


def test_another_tokenizer_than_the_builds(
    database: Engine, settings: Settings, tmp_path: Path, teacher: Teacher, teacher_folder: Path
) -> None:
    made, _ = a_build(database, settings, tmp_path, teacher, teacher_folder)
    build = made.workplace.build
    changed = replace(build, content={**(build.content or {}), "tokenizer": "0" * 64})
    with pytest.raises(Mismatch, match="another here than when the build began"):
        publish_shard("publish", replace(made.workplace, build=changed))
