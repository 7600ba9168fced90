"""Words of a lexicon under real tokenizers: their tokens, why some have no senses, and the counts of the paper."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

from conftest import Published
from running_service import environment_of
from sensedict.errors import LexiconNotFound
from sensedict_server.build.contents import TokenSenses
from sensedict_server.build.coverage_command import HG2VEC, coverage, missing_sources, totals
from sensedict_server.build.words import (
    TOO_MANY,
    UNKNOWN,
    compose_words,
    reasons_in_words,
    tokens_inside,
    without_senses,
)
from sensedict_server.queries.lexicons import relation_words
from sensedict_trainer.tokenizers import load_tokenizer
from tiny_dictionary import WORDS as TINY_WORDS
from tiny_dictionary import insert_lexicon
from tiny_teacher import save_tokenizer

WORDS = [
    *("hot", "ice cream", "well-known", "o'clock", "don't", "'s", "New York", "NATO", "McDonald", "and/or", "C++"),
    *("été", "e\u0301te\u0301", "日本", "привет", "שלום", "नमस्ते", "🙂", "👩‍🔬", "1984", "-center", "u.p", "x" * 200),
]


def real(file: str) -> Any:
    folder = os.environ.get("SENSEDICT_TEST_DATA")
    if folder is None:
        pytest.skip("SENSEDICT_TEST_DATA is not set")
    return load_tokenizer(str(Path(folder) / "tokenizers" / file))


@pytest.mark.parametrize("file", ["gpt2.tokenizer.json.xz", "qwen2.5.tiktoken.xz"])
def test_a_byte_level_tokenizer_sees_the_blank_before_any_word(file: str) -> None:
    tokenizer = real(file)
    found = tokens_inside(tokenizer, WORDS)
    assert found == [tuple(ids) for ids in tokenizer([f" {word}" for word in WORDS])["input_ids"]]
    assert [tokenizer.decode(ids) for ids in found] == [f" {word}" for word in WORDS]
    assert len(found[0]) == 1
    assert len(found[1]) == 2  # ice and cream


def test_a_sentencepiece_tokenizer_has_no_token_for_the_blank() -> None:
    tokenizer = real("mistral-7b-v0.1.spm.model")
    found = tokens_inside(tokenizer, WORDS)
    assert found == [tuple(ids) for ids in tokenizer(WORDS)["input_ids"]]
    assert [tokenizer.convert_ids_to_tokens(ids) for ids in found[:3]] == [
        ["▁hot"],
        ["▁ice", "▁cream"],
        ["▁well", "-", "known"],
    ]


def test_a_word_alone_is_as_inside_a_sentence(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    sentence = tokenizer("the hot été and a 日本")["input_ids"]
    for ids in tokens_inside(tokenizer, ["hot", "été", "日本"]):
        assert any(tuple(sentence[at : at + len(ids)]) == ids for at in range(len(sentence)))


def marked() -> Any:
    """A SentencePiece kind of tokenizer that knows letters of a few words, and no others."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=200, show_progress=False, special_tokens=["<unk>"])
    tokenizer.train_from_iterator(["hot", "cold", "warm", "happy", "glad", "the", "ice", "kind", "may", "up"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_every_word_without_senses_is_listed_with_its_reason(database: Engine) -> None:
    lexicon_id, _ = insert_lexicon(database)
    tokenizer = marked()
    size = len(tokenizer)
    counts = np.full(size, 2)
    empty = tokenizer.convert_tokens_to_ids("▁hot")
    counts[empty] = 0
    tokens = TokenSenses(
        texts=[tokenizer.decode([token]) for token in range(size)],
        occurrences=np.ones(size, dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        vectors=np.random.default_rng(0).normal(size=(int(counts.sum()), 4)).astype(np.float16),
        counts=np.ones(int(counts.sum()), dtype=np.int64),
        inertia=np.zeros(int(counts.sum()), dtype=np.float32),
        contexts=[[]] * int(counts.sum()),
    )
    words = compose_words(database, lexicon_id, tokenizer, tokens)
    with database.connect() as connection:
        listed = relation_words(connection, lexicon_id)
    reasons = dict(zip([text for _, text in listed], words.reasons, strict=True))
    assert reasons["日本"] == reasons["été"] == reasons["New York"] == UNKNOWN
    # <unk> has senses here, and a word that is nothing else does not get them.
    assert dict(zip([text for _, text in listed], words.token_ids, strict=True))["日本"] == ()
    assert reasons["hot"] == f"token without senses: {tokens.texts[empty]!r}"
    assert reasons["ice cream"] == TOO_MANY
    assert reasons["cold"] is None

    header, *lines = without_senses(database, lexicon_id, words).decode().splitlines()
    assert header == "word\treason\ttokens"
    table = [line.split("\t") for line in lines]
    assert {word: reason for word, reason, _ in table} == {word: why for word, why in reasons.items() if why}
    assert dict(zip([text for _, text in listed], words.token_ids, strict=True))["hot"] == (empty,)
    assert [tokens for word, _, tokens in table if word == "hot"] == [str(empty)]
    printed = reasons_in_words(words)
    assert len(printed) == 3
    assert any(line.endswith(f"token without senses: {tokens.texts[empty]!r} 1") for line in printed)
    assert sum(int(line.split()[3].replace(",", "")) for line in printed) == len(table)


def run(command: Any, published: Published, *arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), env=environment_of(published.settings))


def test_totals_count_a_pair_once(published: Published) -> None:
    document = json.loads(run(totals, published, "opposites@1", "--json").stdout)
    assert document["pairs"] == {"synonym": 12, "antonym": 9}  # happy–glad stands in two sources; a negation counts
    assert document["only_derived"] == {"synonym": 1, "antonym": 0}
    assert document["other_types"] == {"related": 1}
    assert document["paper"] == {"synonym": 923_950, "antonym": 75_949}
    by_source = {(row["source"], row["kind"], row["derived"]): row["pairs"] for row in document["sources"]}
    assert by_source["thesaurus", "synonym", False] == 11
    assert by_source["opposites", "synonym", False] == by_source["opposites", "synonym", True] == 1
    assert by_source["opposites", "antonym", False] == 9
    assert document["rules"] == [{"rule": "negation:un-", "kind": "synonym", "edges": 1, "pairs": 1, "new": 1}]
    assert document["conflicting_pairs"] == 1
    (conflict,) = document["conflicts"]
    assert (conflict["word"], conflict["other"]) == ("cold", "warm")
    assert (conflict["synonym_source"], conflict["antonym_source"]) == ("thesaurus", "opposites")


def test_totals_say_what_is_missing(published: Published) -> None:
    printed = run(totals, published, "opposites@1").stdout
    assert "missing here: Wiktionary" in printed
    assert "missing here: MorphoLEX" in printed
    assert "no source is named so: Roget's Super Thesaurus (HG2Vec's pairs)" in printed  # lists have any names
    assert "not the paper's: thesaurus, opposites" in printed
    assert "synonyms of thesaurus; antonyms of opposites" in printed
    assert "cold–warm" in printed


@pytest.mark.parametrize("name", ["synonyms:syn-pairs", "antonyms:ant-pairs", "synonyms:HG2Vec_syn", "typed:hg2vec"])
def test_hg2vec_is_known_by_the_names_of_its_files(name: str) -> None:
    assert HG2VEC not in missing_sources([name, "opposites"])


@pytest.mark.parametrize("name", ["synonyms:mine", "synonyms:ant-pairs", "typed:syn-pairs", "roget"])
def test_other_lists_are_not_taken_for_hg2vec(name: str) -> None:
    assert missing_sources([name, "wiktextract", "morpholex"]) == [HG2VEC]


def test_coverage_by_a_tokenizer(published: Published, tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    spec = str(tmp_path / "tokenizer.json")
    found = run(coverage, published, "opposites@1", "--tokenizer", spec, "--json")
    (row,) = json.loads(found.stdout)["tokenizers"]
    tokenizer = load_tokenizer(spec)
    lengths = dict(zip(TINY_WORDS, map(len, tokens_inside(tokenizer, list(TINY_WORDS))), strict=True))
    heads = {word for word, length in lengths.items() if length == 1 and sum(map(str.isalpha, word)) >= 3}
    assert row["tokenizer"] == spec
    assert row["words"] == len(TINY_WORDS)
    assert row["heads"] == len(heads) > 3
    antonyms = [("hot", "cold"), ("happy", "sad"), ("big", "small"), ("up", "down"), ("cold", "warm")]
    antonyms += [("kind", "unkind"), ("unkind", "glad"), ("sad", "glad"), ("u.p", "down")]
    others = [other for pair in antonyms for head, other in (pair, pair[::-1]) if head in heads]
    assert row["kept"]["antonym"]["relations"] == len(others)
    shares = [sum(lengths[other] <= most for other in others) / len(others) for most in range(1, 6)]
    assert row["kept"]["antonym"]["shares"] == pytest.approx(shares)

    printed = run(coverage, published, "opposites@1", "--tokenizer", spec).stdout
    assert "48.11" in printed  # the paper's
    assert "27,702" in printed
    assert f"{100 * shares[0]:.2f}" in printed


def test_a_lexicon_that_is_not_there(published: Published) -> None:
    failed = run(totals, published, "nosuch@1")
    assert isinstance(failed.exception, LexiconNotFound)
