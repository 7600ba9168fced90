"""Table 2 and the word keys, counted by hand and, where the paper's pairs are at hand, against METHOD's figures."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import numpy as np
import pytest

from sensedict_server.build.words import tokenize_words
from sensedict_server.lexicon.coverage import PAPER, kept, word_keys
from sensedict_server.queries.relations import is_head
from sensedict_trainer.tokenizers import load_tokenizer

# Words: 0 and 1 are heads, 2 is one token but too short for a head, the others have 2, 3, 6 and no tokens.
TOKENS = np.array([1, 1, 1, 2, 3, 6, 0])
HEADS = np.array([True, True, False, False, False, False, False])


def test_each_relation_counts_from_each_of_its_heads() -> None:
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 4], [1, 5], [1, 6], [3, 4]])
    found = kept(pairs, TOKENS, HEADS)
    # (0, 1) twice; (3, 4) has no head. One token: 1, 0, 2; two: 3; three: 4; six and none are in no column.
    assert found.relations == 7
    assert found.shares == pytest.approx([3 / 7, 4 / 7, 5 / 7, 5 / 7, 5 / 7])


def test_no_relations_have_no_shares() -> None:
    assert kept(np.zeros((0, 2), dtype=np.int64), TOKENS, HEADS).shares == ()
    assert kept(np.array([[3, 4]]), TOKENS, HEADS).relations == 0


def test_word_keys_are_words_of_two_or_three_tokens_beside_a_head() -> None:
    pairs = np.array([[0, 3], [1, 3], [1, 4], [0, 5], [0, 2]])
    assert word_keys(pairs, TOKENS, HEADS) == 2
    assert word_keys(np.array([[3, 4]]), TOKENS, HEADS) == 0


def test_the_papers_rows_rise() -> None:
    for row in PAPER.values():
        for shares in (row.synonym, row.antonym):
            assert list(shares) == sorted(shares)
            assert len(shares) == 5


def test_antonyms_of_hg2vec_under_mistrals_tokenizer() -> None:
    folder = os.environ.get("SENSEDICT_TEST_DATA")
    if folder is None:
        pytest.skip("SENSEDICT_TEST_DATA is not set")
    lines = lzma.decompress((Path(folder) / "hg2vec-ant-pairs.txt.xz").read_bytes()).decode("ascii").splitlines()
    split = [line.split(" ") for line in lines]
    pairs = {(min(words), max(words)) for words in split if len(words) == 2 and all(words) and words[0] != words[1]}
    words = sorted({word for pair in pairs for word in pair})
    tokenizer = load_tokenizer(str(Path(folder) / "tokenizers" / "mistral-7b-v0.1.spm.model"))
    tokens = np.array([len(ids) for ids in tokenize_words(tokenizer, words)])
    heads = (tokens == 1) & np.array([is_head(word) for word in words])
    rows = {word: row for row, word in enumerate(words)}
    found = kept(np.array([[rows[a], rows[b]] for a, b in sorted(pairs)]), tokens, heads)
    assert [round(100 * share, 1) for share in found.shares[:3]] == [42.7, 76.0, 95.0]
