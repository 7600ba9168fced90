"""Sense quality: the data sets as they are read, uses as the teacher reads them, and numbers known beforehand."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from sqlalchemy.engine import URL

from conftest import Published, copy_of_template
from running_service import Service
from sensedict.cli import cli
from sensedict.client import SenseClient
from sensedict.errors import InvalidInput, Mismatch, SenseDictError
from sensedict.snapshot import Snapshot
from sensedict_server.build.contents import Draft, TokenSenses, WordSenses
from sensedict_server.build.publish import publish
from sensedict_server.database import opened
from sensedict_trainer.sense_quality import data_sets
from sensedict_trainer.sense_quality.archives import read_files
from sensedict_trainer.sense_quality.book import SenseBook
from sensedict_trainer.sense_quality.data_sets import Use, load_ant_syn, load_similarity, load_wic, load_wic_tsv
from sensedict_trainer.sense_quality.owners import FileSetSpellings, ServiceSpellings
from sensedict_trainer.sense_quality.reading import NO_PLACE, NO_SENSES, TOO_LONG, Coverage, UseReader, join_words
from sensedict_trainer.sense_quality.stability import check_other, evaluate_stability
from sensedict_trainer.sense_quality.statistics import auc, best_threshold, f1, measured, share, spearman
from sensedict_trainer.sense_quality.word_in_context import SAME_SENSE, STATE, _accuracies
from sensedict_trainer.sense_quality.wordnet_keys import load_framework, load_semcor
from sensedict_trainer.teacher import Teacher
from tiny_dictionary import TOKENS, WORDS, insert_lexicon
from tiny_senses import ONE, RICH, TWO, archive, framework, write_sense_data
from tiny_training import make_teacher

LAYER = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sense_data(tmp_path_factory.mktemp("data"))


def plain_states(teacher: Teacher, text: str, layer: int | None = LAYER) -> tuple[list[int], NDArray[np.float32]]:
    """The text's tokens after the token that ends a text, and the states at all of these (T + 1, D)."""
    ids = teacher.tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        out = teacher.model(torch.tensor([[0, *ids]]), output_hidden_states=True)
    states = out.hidden_states[-1 if layer is None else layer][0]  # the last is after the final norm
    return ids, states.numpy()


@dataclass(frozen=True)
class Made:
    teacher: Teacher
    folder: Path
    other: Path
    moved: Path


@pytest.fixture(scope="module")
def made(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A dictionary of the key `input` at a layer: " stone" has a sense of each of its two contexts.

    The second version is the same; in the third all senses of tokens lie at one point.
    """
    home = tmp_path_factory.mktemp("quality")
    teacher = make_teacher(home / "teacher")
    with copy_of_template(postgres, home / "home") as settings:
        with opened(settings) as engine:
            lexicon, word_ids = insert_lexicon(engine)
            draft = draft_of(teacher, lexicon, word_ids)
            moved = replace(draft.tokens, vectors=np.full_like(draft.tokens.vectors, 9.0))
            for version, tokens in (("1", draft.tokens), ("2", draft.tokens), ("3", moved)):
                publish(engine, settings.files, replace(draft, version=version, tokens=tokens))
        yield Made(teacher, *(settings.files / f"tiny@{version}" for version in (1, 2, 3)))


def draft_of(teacher: Teacher, lexicon: int, word_ids: dict[str, int]) -> Draft:
    random = np.random.default_rng(0)
    size, dim = teacher.vocabulary_size, teacher.dim
    stone = teacher.tokenizer(" stone", add_special_tokens=False)["input_ids"]
    assert len(stone) == 1
    vectors: dict[int, NDArray[np.float32]] = {}
    for word in WORDS:
        for token in teacher.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]:
            vectors.setdefault(token, random.normal(size=(2, dim)).astype(np.float32))
    vectors[stone[0]] = np.stack([plain_states(teacher, text)[1][-1] for text in (ONE, TWO)])
    sizes = np.array([len(vectors.get(token, ())) for token in range(size)])
    tokens = TokenSenses(
        texts=[teacher.tokenizer.decode([token]) for token in range(size)],
        occurrences=sizes * 5,
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        vectors=np.concatenate([vectors[token] for token in sorted(vectors)]).astype(np.float16),
        counts=np.tile([7, 3], len(vectors)),
        inertia=np.full(2 * len(vectors), 0.5, np.float32),
        contexts=[[] for _ in range(2 * len(vectors))],
    )
    spelt = [tuple(teacher.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) for word in WORDS]
    composed = [2 if 1 < len(ids) <= 3 else 0 for ids in spelt]
    words = WordSenses(
        word_ids=np.array([word_ids[word] for word in WORDS], np.int64),
        token_ids=spelt,
        offsets=np.concatenate([[0], np.cumsum(composed)]).astype(np.int64),
        vectors=random.normal(size=(sum(composed), dim)).astype(np.float16),
        reasons=[None if len(ids) <= 3 else "too many tokens" for ids in spelt],
    )
    return Draft(
        name="tiny",
        version="1",
        lexicon_id=lexicon,
        teacher="tiny-teacher",
        teacher_hash=teacher.fingerprint,
        tokenizer_hash=teacher.tokenizer_hash,
        state_point=f"layer:{LAYER}",
        key_policy="input",
        k=2,
        tokens=tokens,
        words=words,
        settings={"seed": 0},
    )


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(cli, ["eval-senses", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_the_command_measures_what_was_planted(made: Made, data: Path, tmp_path: Path) -> None:
    """One run over everything: uses of " stone" are told apart by senses and by states, and not by one centroid."""
    out = tmp_path / "out"
    done = run(
        "--teacher", made.teacher.name, "--snapshot", made.folder, "--data", data, "--other", made.other,
        "--out", out, "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found == json.loads((out / "sense-quality.json").read_text())
    assert "stone" not in done.stdout  # no row of a data set stands in the results
    assert {path.name for path in out.rglob("*") if path.is_file()} == {
        "sense-quality.json",
        "sense-quality.md",
        "sense-quality.svg",
    }
    value = {(m["data_set"], m["measure"], m["by"]): m["value"] for m in found["measures"]}
    for by in ("same nearest sense", "nearest senses", "hidden state"):
        assert value["wic", "accuracy", by] == 1.0
    for by in ("one centroid a token", "input embeddings", "majority"):
        assert value["wic", "accuracy", by] == 0.5
    assert value["wsd", "F1", "nearest senses"] == value["wsd", "F1", "hidden state"] == 1.0
    for by in ("most frequent sense", "one centroid a token"):
        assert value["wsd", "F1", by] == value["wsd", "accuracy where senses decide", by] == 0.5
    assert value["stability", "share of senses kept", "senses of tokens, within 0.5 units"] == 1.0
    assert {m["data_set"] for m in found["measures"]} == {
        "wic", "wic_tsv", "wsd", "ant_syn adjective", "ant_syn noun", "ant_syn verb", "simlex", "simverb", "men",
        "wordsim", "stability",
    }  # fmt: skip
    coverage = {row["of"]: row for row in found["coverage"]}
    assert (coverage["wic dev"]["covered"], coverage["wic dev"]["total"]) == (8, 8)
    assert coverage["wic_tsv dev"]["missing"] == {NO_PLACE: 1}
    assert coverage["wsd SemCor"]["total"] == 3  # neither the name nor the use whose sense was lost
    assert coverage["simlex, words"]["missing"] == {NO_SENSES: 1}


def test_word_pairs_are_compared_by_all_their_senses(made: Made, data: Path, tmp_path: Path) -> None:
    """Against plain loops over the file set's vectors; a word of several tokens has its composed senses."""
    arguments = ("--teacher", made.teacher.name, "--snapshot", made.folder, "--data", data)
    done = run(*arguments, "--only", "simlex,ant_syn", "--out", tmp_path, "--json")
    rows = {(m["data_set"], m["by"]): m for m in json.loads(done.stdout)["measures"]}
    with Snapshot.open(made.folder) as source:
        vectors = source.vectors.astype(np.float64)
        spellings = FileSetSpellings(source)
    vectors -= vectors.mean(axis=0)

    def alike(pair: data_sets.WordPair) -> tuple[float, float, float] | None:
        owners = [spellings.find(word) for word in (pair.first, pair.second)]
        if None in owners:
            return None
        a, b = (vectors[owner.first : owner.first + owner.count] for owner in owners if owner)
        between = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x in a for y in b]
        x, y = (
            np.average(v, axis=0, weights=[7, 3] if o and o.token is not None else None)
            for v, o in zip((a, b), owners, strict=True)
        )
        return max(between), float(np.mean(between)), float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    sad = spellings.find("sad")
    assert sad is not None
    assert sad.token is None
    pairs = load_similarity(data / "senses", "simlex")
    told = [(found, pair.score) for pair in pairs if (found := alike(pair))]
    assert len(told) == len(pairs) - 1
    for place, by in enumerate(("senses, nearest pair", "senses, mean of pairs", "one centroid a token")):
        expected = spearmanr([found[place] for found, _ in told], [score for _, score in told]).statistic
        assert rows["simlex", by]["value"] == pytest.approx(expected)
        assert (rows["simlex", by]["items"], rows["simlex", by]["total"]) == (5, 6)
    told = [(found, pair.score) for pair in load_ant_syn(data / "senses", "noun") if (found := alike(pair))]
    expected = roc_auc_score([score for _, score in told], [found[0] for found, _ in told])
    assert rows["ant_syn noun", "senses, nearest pair"]["value"] == pytest.approx(expected)
    assert [score for _, score in told] == [0.0, 1.0, 0.0, 1.0]  # 1: synonyms


@pytest.mark.parametrize(("key", "layer"), [("input", LAYER), ("next", None), ("predicted", None)])
def test_a_use_has_the_state_that_the_key_names(made: Made, key: str, layer: int | None) -> None:
    words = ("the", "old", "stones", "'s", "stone", ".")
    with Snapshot.open(made.folder) as source:
        book = SenseBook(source, FileSetSpellings(source), made.teacher)
        point = "final_norm" if layer is None else f"layer:{layer}"
        reader = UseReader(made.teacher, replace(source.identity, key_policy=key, state_point=point), book)
        coverage = Coverage("here")
        uses = [Use(words, place, "stone") for place in (4, 2, 0, 5, 9)]
        one, several, first, mark, none = reader.read(uses, coverage)
    ids, states = plain_states(made.teacher, "the old stones's stone.", layer)
    texts = [made.teacher.tokenizer.decode([token]) for token in ids]
    back = 0 if key == "input" else 1
    last = len(texts) - 1 - texts[::-1].index(" stone")
    place = last + 1 - back  # after the token that the sentence is read after
    assert one is not None
    np.testing.assert_allclose(one.state + book.mean, states[place], atol=2e-2, rtol=2e-3)
    assert one.owner == book.of_token(ids[last])
    assert several is not None  # " stone" and "s": the mean of both
    assert len(several.tokens) == 2
    start = 1 + len(made.teacher.tokenizer("the old", add_special_tokens=False)["input_ids"]) - back
    np.testing.assert_allclose(several.state + book.mean, states[start : start + 2].mean(axis=0), atol=2e-2, rtol=2e-3)
    assert first is not None  # the first word, too, has a state before it
    assert mark is none is None
    assert coverage.missing[NO_PLACE] == 2
    assert coverage.total == 5


def test_a_sentence_beyond_the_context_is_counted(made: Made) -> None:
    words = ("hot",) * 400 + ("stone",)
    with Snapshot.open(made.folder) as source:
        book = SenseBook(source, FileSetSpellings(source), made.teacher)
        coverage = Coverage("here")
        found = UseReader(made.teacher, source.identity, book).read([Use(words, 400, ""), Use(words, 3, "")], coverage)
    assert found[0] is None
    assert found[1] is not None
    assert coverage.missing == {TOO_LONG: 1}


def test_spellings_of_a_service_and_of_a_file_set_agree(service: Service, published: Published) -> None:
    spelt = [*WORDS, "HOT", "new york", "colder", "nowhere", *(t for t, _ in TOKENS if t.strip() and t.isprintable())]
    with SenseClient(service.url, "tiny@1") as client, Snapshot.open(published.folder) as folder:
        files, asked = FileSetSpellings(folder), ServiceSpellings(client)
        owners = [files.find(word) for word in spelt]
        assert owners == [asked.find(word) for word in spelt]
        assert {owner is None for owner in owners} == {True, False}
        for owner in filter(None, owners):
            np.testing.assert_array_equal(files.uses(owner), asked.uses(owner))


def test_stability_falls_with_what_moves(made: Made, data: Path) -> None:
    with Snapshot.open(made.folder) as source:
        identity = source.identity
        book = SenseBook(source, FileSetSpellings(source), made.teacher)
        reader = UseReader(made.teacher, identity, book)
        uses = [Use(tuple(text.split()), len(text.split()) - 1, "stone") for text in (ONE, TWO)] * 6
        readings = [reading for reading in reader.read(uses, Coverage("here")) if reading is not None]
    found, moved = (
        {m.measure: m for m in evaluate_stability(made.folder, other, readings, book.mean, 0)}
        for other in (made.other, made.moved)
    )
    assert [m.value for m in found.values()] == [1.0] * 4
    assert [m.value for m in moved.values()] == pytest.approx([0.0] * 4, abs=1e-9)
    assert found["adjusted Rand index"].items == found["adjusted Rand index"].total == 1
    for name in ("state_point", "key_policy", "teacher_hash"):
        with pytest.raises(Mismatch, match=f"tiny@1 cannot tell .* its {name.replace('_', ' ')} is other, not"):
            check_other(identity, replace(identity, **{name: "other"}))
    with pytest.raises(Mismatch, match="tiny@1 is compared with itself"):
        check_other(identity, identity)


def test_the_same_nearest_sense_is_taken_at_its_word() -> None:
    """Whatever training pairs say: a vector's threshold is chosen on them, and here it is the other way round."""
    scores = [{SAME_SENSE: same, STATE: same} for same in (0.0, 0.0, 1.0, 1.0)]
    found = _accuracies("wic", (scores, [True, True, False, False]), (scores, [False, False, True, True]), 0)
    value = {measure.by: measure.value for measure in found}
    assert value[SAME_SENSE] == 1.0
    assert value[STATE] == 0.5


def test_statistics_against_references() -> None:
    random = np.random.default_rng(1)
    scores, truths = random.integers(0, 9, 60).astype(np.float64), random.random(60) < 0.4
    assert auc(scores, truths) == pytest.approx(roc_auc_score(truths, scores))
    assert spearman(scores, truths.astype(np.float64)) == pytest.approx(spearmanr(scores, truths).statistic)
    threshold = best_threshold(scores, truths)
    best = max(((scores >= t) == truths).mean() for t in [*np.unique(scores), 99.0])
    assert ((scores >= threshold) == truths).mean() == best
    assert f1(np.array([True, False, False, False]), np.array([True, True, False, False])) == pytest.approx(2 / 6)
    one, two, none = measured(
        "d", "m", {"a": share(truths), "b": share(~truths), "c": lambda p: auc(scores[p], truths[p] | True)}, 60, 70, 0
    )
    assert (one.value, one.items, one.total) == (truths.mean(), 60, 70)
    assert one.low is not None
    assert one.high is not None
    assert one.high - one.low == pytest.approx(2 * 1.96 * truths.std() / np.sqrt(60), rel=0.15)
    assert one.ahead is None
    assert two.ahead == pytest.approx(1 - 2 * truths.mean())  # paired: b falls where a rises
    assert two.ahead_low == pytest.approx(1 - 2 * one.high)
    assert (none.value, none.low, none.ahead) == (None, None, None)
    assert [m.value for m in measured("d", "m", {"a": share([])}, 0, 5, 0)] == [None]


def test_a_sentence_is_spelt_as_print_has_it() -> None:
    text, spans = join_words(["He", "said", ":", "``", "it", "is", "n't", "(", "so", ")", "''", "."])
    assert text == "He said: ``it isn't (so)''."
    assert [text[start:end] for start, end in spans][4:7] == ["it", "is", "n't"]


def test_bad_files_are_named(tmp_path: Path) -> None:
    def refused(message: str, load: Any, *arguments: Any) -> None:
        with pytest.raises(InvalidInput, match=message):
            load(tmp_path, *arguments)

    refused(r"cannot read the archive .*wic\.tar\.xz: No such file", load_wic, "dev")
    (tmp_path / "wic.tar.xz").write_bytes(b"no archive")
    refused(r"cannot read the archive .*wic\.tar\.xz", load_wic, "dev")
    archive(tmp_path, "wic.tar.xz", {"wic/dev.data.txt": "stone\tN\t0-1\tstone\ta stone\n"})
    refused(r"wic\.tar\.xz has no file wic/dev\.gold\.txt", load_wic, "dev")
    for line, gold in (
        ("stone\tN\t0\tstone\ta stone", "T"),
        ("stone\tN\tx-1\tstone\ta stone", "T"),
        ("stone\tN\t0-1\ta\tb", "?"),
    ):
        archive(tmp_path, "wic.tar.xz", {"wic/dev.data.txt": f"{line}\n", "wic/dev.gold.txt": gold})
        refused(r"wic/dev\.data\.txt:1: not a word, its part of speech, two places", load_wic, "dev")
    archive(tmp_path, "wic.tar.xz", {"wic/dev.data.txt": "", "wic/dev.gold.txt": "T"})
    refused("has 0 pairs, and 1 labels", load_wic, "dev")
    archive(tmp_path, "wic-tsv.tar.xz", {"wic-tsv/hyp/dev.tsv": "a\tb\tc\n[ a ]\tT\n"})
    refused(r"wic-tsv/hyp/dev\.tsv:2: not a sentence, hypernyms", load_wic_tsv, "dev")
    archive(tmp_path, "word-similarity.tar.xz", {"word-similarity/SimLex999.txt": "a\tb\t1\nc\td\n"})
    refused(r"SimLex999\.txt:2: not two words and a number", load_similarity, "simlex")
    archive(tmp_path, "ant-syn-distinction.tar.xz", {"ant-syn/noun-pairs.test": "a\tb\t1\nc\td\t2\n"})
    refused(r"noun-pairs\.test:2: the label 2 is neither 0 nor 1", load_ant_syn, "noun")
    archive(tmp_path, "wsd-eval-framework.tar.xz", {**framework([(ONE, RICH)]), "wsd-eval/ALL/ALL.gold.key.txt": ""})
    refused(r"ALL\.gold\.key\.txt has no key of the instance 'd\.s0'", load_framework)
    archive(tmp_path, "wsd-eval-framework.tar.xz", {**framework([(ONE, RICH)]), "wsd-eval/ALL/ALL.data.xml": "<a>"})
    refused(r"ALL\.data\.xml is no XML", load_framework)
    archive(tmp_path, "semcor-3.0.tar.xz", {"semcor-3.0/README": ""})
    refused(r"semcor-3\.0\.tar\.xz holds no tagged sentence", load_semcor)
    with tarfile.open(tmp_path / "latin.tar.xz", "w:xz") as opened_:
        entry = tarfile.TarInfo("a")
        entry.size = 1
        opened_.addfile(entry, io.BytesIO(b"\xff"))
    with pytest.raises(InvalidInput, match=r"latin\.tar\.xz: a is not UTF-8"):
        read_files(tmp_path / "latin.tar.xz", ["a"])


def test_the_command_refuses(made: Made, data: Path, tmp_path: Path, service: Service) -> None:
    other = make_other_teacher(tmp_path)
    base = ("--data", data, "--out", tmp_path / "out")
    for error, message, arguments in (
        (Mismatch, "is not the one of tiny@1 .* weights", ("--teacher", other, "--snapshot", made.folder)),
        (Mismatch, "is not the one of tiny@1", ("--teacher", other, "--server", service.url, "--dictionary", "tiny@1")),
        (
            InvalidInput,
            "cannot read the archive",
            ("--teacher", made.teacher.name, "--snapshot", made.folder, "--data", tmp_path),
        ),
    ):
        with pytest.raises(error, match=message):
            run(*base, *arguments)
    done = CliRunner().invoke(cli, ["eval-senses", "--teacher", "x", "--only", "wic,wik", *map(str, base)])
    assert done.exit_code == 2
    assert "not 'wik'" in done.output
    assert not (tmp_path / "out").exists()
    with pytest.raises(SenseDictError, match="either --dictionary"):
        run(*base, "--teacher", "x")


def make_other_teacher(folder: Path) -> str:
    from tiny_teacher import save_tiny_teacher

    return str(save_tiny_teacher(folder / "other", seed=1))


@pytest.mark.skipif(
    "SENSEDICT_TEST_DATA" not in os.environ, reason="SENSEDICT_TEST_DATA names no folder of further data"
)
def test_the_authors_files() -> None:
    """The counts that their authors give, and every place of WiC inside its sentence."""
    senses = Path(os.environ["SENSEDICT_TEST_DATA"]) / "senses"
    train, dev = load_wic(senses, "train"), load_wic(senses, "dev")
    assert (len(train), len(dev), sum(pair.same for pair in dev)) == (5428, 638, 319)
    assert all(use.form for pair in (*train, *dev) for use in (pair.first, pair.second))
    targets = [load_wic_tsv(senses, part) for part in ("train", "dev")]
    assert [len(some) for some in targets] == [2137, 389]
    assert all(target.use.form for some in targets for target in some)
    assert sum(not target.hypernyms for some in targets for target in some) == 1
    sizes = {name: len(load_similarity(senses, name)) for name in data_sets.SIMILARITY_FILES}
    assert sizes == {"simlex": 999, "simverb": 3500, "men": 3000, "wordsim": 353}
    pairs = [load_ant_syn(senses, pos) for pos in data_sets.PARTS_OF_SPEECH]
    assert [(len(some), sum(pair.score for pair in some)) for some in pairs] == [(1986, 993), (1020, 510), (908, 454)]
    tests = load_framework(senses)
    assert len(tests) == 7253
    tagged = load_semcor(senses)
    entries = {use.entry for part in (tagged.whole, tagged.verbs) for sentence in part for use in sentence}
    answerable = sum(use.entry in entries for use in tests)
    assert 0.85 < answerable / len(tests) < 0.95
