"""Composition of word senses against the paper's sentence written out as loops."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sensedict.errors import InvalidInput
from sensedict_server.build import words as words_module
from sensedict_server.build.contents import TokenSenses
from sensedict_server.build.words import compose_listed, tokens_inside
from sensedict_server.lexicon import compose as compose_module
from sensedict_server.lexicon import coverage as coverage_module
from sensedict_server.lexicon.compose import compose, compose_in_batches


def written_out(owners: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """DSKD §3.3, a row at a time, in float64."""
    result = []
    for row in range(len(owners[0])):
        aligned = [owners[0][row]]
        for senses in owners[1:]:
            mean = sum(aligned) / len(aligned)
            distances = [float(np.sqrt(np.sum((sense - mean) ** 2))) for sense in senses]
            aligned.append(senses[distances.index(min(distances))])
        result.append(sum(aligned) / len(aligned))
    return np.array(result)


@pytest.mark.parametrize("sizes", [(3,), (1, 1), (4, 2), (2, 5), (3, 1, 4), (10, 10, 10)])
def test_against_loops(sizes: tuple[int, ...]) -> None:
    random = np.random.default_rng(sum(sizes))
    owners = [random.normal(size=(k, 16)) * 5 for k in sizes]
    composed = compose(owners)
    assert composed.shape == (sizes[0], 16)
    assert composed.dtype == np.float32
    np.testing.assert_allclose(composed, written_out(owners), rtol=1e-5, atol=1e-5)


def test_by_hand() -> None:
    first = np.array([[0.0, 0.0], [4.0, 4.0]])
    second = np.array([[4.0, 2.0], [0.0, 2.0]])  # (0, 0) is nearer to the second row, (4, 4) to the first
    third = np.array([[9.0, 9.0], [0.0, 4.0]])  # means (0, 1) and (4, 3): the second row both times
    np.testing.assert_allclose(compose([first, second, third]), [[0, 2], [8 / 3, 10 / 3]], rtol=1e-6)


def test_half_floats_are_added_in_single_precision() -> None:
    large = np.full((1, 4), 60_000, dtype=np.float16)  # twice that is no half float
    np.testing.assert_array_equal(compose([large, large, large]), large.astype(np.float32))


@pytest.mark.parametrize(
    "owners", [[], [np.zeros((0, 4))], [np.zeros((1, 4)), np.zeros((1, 5))], [np.zeros(4), np.zeros(4)]]
)
def test_what_cannot_be_composed(owners: list[NDArray[np.float64]]) -> None:
    with pytest.raises(InvalidInput):
        compose(owners)


@pytest.mark.parametrize("apart", ["far", "near", "equal"])
def test_batches_give_the_same_numbers_as_words_one_by_one(apart: str) -> None:
    random = np.random.default_rng(5)
    sizes = random.integers(1, 11, 60)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    vectors = random.normal(size=(offsets[-1], 16))
    if apart == "near":  # senses so alike that products of them tell nothing
        vectors = 1 + 0.001 * vectors
    elif apart == "equal":  # senses that stand there twice: the first is taken
        vectors = random.integers(0, 2, vectors.shape).astype(np.float64)
    vectors = vectors.astype(np.float16)
    words = [tuple(random.integers(0, 60, length).tolist()) for length in random.integers(1, 5, 1500)]
    found: dict[int, NDArray[np.float32]] = {}
    batches = 0
    for places, senses in compose_in_batches(vectors, offsets, words):
        batches += 1
        assert senses.dtype == np.float32
        ends = np.cumsum([sizes[words[place][0]] for place in places])
        found.update(zip(places.tolist(), np.split(senses, ends[:-1]), strict=True))
    assert batches > 4  # of one to four tokens, and more than one batch of some
    assert sorted(found) == list(range(len(words)))
    for place, word in enumerate(words):
        plain = compose([vectors[offsets[token] : offsets[token + 1]] for token in word])
        np.testing.assert_array_equal(found[place], plain)


@pytest.mark.parametrize("words", [[(0,), ()], [(0, 1)]])
def test_a_batch_refuses_words_that_cannot_be_composed(words: list[tuple[int, ...]]) -> None:
    with pytest.raises(InvalidInput, match="word"):
        list(compose_in_batches(np.zeros((2, 4)), np.array([0, 2, 2]), words))


def test_no_words_no_batches() -> None:
    assert list(compose_in_batches(np.zeros((0, 4)), np.zeros(1, dtype=np.int64), [])) == []


def test_examples() -> None:
    for module in (compose_module, words_module, coverage_module):
        assert doctest.testmod(module).failed == 0


WORDS = ["hot", "ice cream", "été", "and/or", "日本", "a", "'s", "New York"]
TEXT = ["a hot day and a cold night, the ice cream was hot", "New York and/or Paris, a summer, the été", "1 hot 2 cold"]


@pytest.mark.parametrize("trim_offsets", [False, True])
def test_a_byte_level_tokenizer_sees_the_blank(trim_offsets: bool) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trim_offsets)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    expected = [tuple(wrapped(f" {word}")["input_ids"]) for word in WORDS]
    assert tokens_inside(wrapped, WORDS) == expected
    assert len(expected[0]) == 1


def test_a_sentencepiece_tokenizer_adds_its_own_mark() -> None:
    tokenizer = Tokenizer(models.BPE(byte_fallback=False, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=120, show_progress=False, special_tokens=["<unk>", "<s>"])
    # without a pre-tokenizer, as Llama's and Mistral's; trained word by word, so that no token holds a blank inside
    tokenizer.train_from_iterator([word for line in TEXT for word in line.split()], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>")
    words = ["hot", "cold", "ice cream", "New York"]
    assert len(wrapped("hot")["input_ids"]) == 1
    assert tokens_inside(wrapped, words) == [tuple(wrapped(word)["input_ids"]) for word in words]


class Blanks:
    """A tokenizer of whole words: ` hot` is one token, longer words are cut after every three letters."""

    unk_token_id: int | None = None

    def __init__(self, joins: tuple[str, ...] = ()) -> None:
        self.vocabulary: dict[str, int] = {}
        self.joins = joins  # words that stick to what stands before them

    def __call__(self, text: list[str], /, *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [self._ids(one) for one in text]}

    def _ids(self, text: str) -> list[int]:
        for word in self.joins:
            if text.endswith(f" {word}") and text != f" {word}":
                return [self._id(text)]
        pieces = []
        for number, word in enumerate(text.split(" ")):
            cut = [word[at : at + 3] for at in range(0, len(word), 3)]
            pieces += [(" " if number and not at else "") + piece for at, piece in enumerate(cut)]
        return [self._id(piece) for piece in pieces]

    def _id(self, piece: str) -> int:
        return self.vocabulary.setdefault(piece, len(self.vocabulary))


def test_words_with_their_tokens_senses_and_reasons() -> None:
    tokenizer = Blanks(joins=("zz",))
    words = [
        (3, "hot"),
        (5, "hothot"),
        (6, "ice"),
        (7, "hotice"),
        (9, "hot hot hot hot"),
        (12, "zz"),
        (13, "hothothot"),
    ]
    compose_listed(words, tokenizer, _senses(np.ones(64, dtype=np.int64)))  # to fill the vocabulary
    token = tokenizer.vocabulary
    sizes = np.full(64, 2)
    sizes[token["ice"]] = 0
    tokens = _senses(sizes, {token["ice"]: "ice"})
    found = compose_listed(words, tokenizer, tokens)

    assert found.word_ids.tolist() == [3, 5, 6, 7, 9, 12, 13]
    assert found.token_ids[:4] == [
        (token[" hot"],),
        (token[" hot"], token["hot"]),
        (token[" ice"],),
        (token[" hot"], token["ice"]),
    ]
    assert found.token_ids[5] == (token[" zz"],)  # joined to every context: tokenized with its blank alone
    assert found.reasons == [None, None, None, "token without senses: 'ice'", "too many tokens", None, None]
    assert found.offsets.tolist() == [0, 0, 2, 2, 2, 2, 2, 4]
    assert found.vectors.dtype == np.float16
    parts = [tokens.vectors[2 * token[piece] : 2 * token[piece] + 2] for piece in (" hot", "hot")]
    assert token["ice"] > token["hot"]  # so that the two rows before stand where the line above says
    np.testing.assert_array_equal(found.vectors[:2], compose(parts).astype(np.float16))


def _senses(sizes: NDArray[np.int64], texts: dict[int, str] | None = None) -> TokenSenses:
    n = int(sizes.sum())
    return TokenSenses(
        texts=[(texts or {}).get(token, f"t{token}") for token in range(len(sizes))],
        occurrences=np.ones(len(sizes), dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        vectors=np.random.default_rng(3).normal(size=(n, 8)).astype(np.float16),
        counts=np.ones(n, dtype=np.int64),
        inertia=np.zeros(n, dtype=np.float32),
        contexts=[[] for _ in range(n)],
    )
