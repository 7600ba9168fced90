"""Give every word of a lexicon its tokens under the teacher's tokenizer, and the senses it has (DSKD §3.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine
from tqdm import tqdm

from sensedict.lookup import NO_SENSES
from sensedict_server.build.contents import TokenSenses, WordSenses
from sensedict_server.build.scratch import scratch_vectors
from sensedict_server.lexicon.compose import compose_in_batches
from sensedict_server.queries.lexicons import relation_words

MOST_TOKENS = 3  # of a word that is composed
TOO_MANY = "too many tokens"
UNKNOWN = "unknown to the tokenizer"
WITHOUT_SENSES = "words-without-senses.tsv"  # in the work folder of a build
_CONTEXTS = ("a", "the", "1")  # what stands before the word, the first that the tokenizer keeps apart from it
_BATCH = 4096  # words tokenized at once
_MOST_NAMED = 5  # tokens that are named to whoever waits

Advance = Callable[[int], object]


class Tokenizer(Protocol):
    """What is needed of a tokenizer of `transformers`."""

    @property
    def unk_token_id(self) -> int | None:
        """The token that stands for what the tokenizer has no token for."""

    def __call__(self, text: list[str], /, *, add_special_tokens: bool) -> Any:
        """A mapping whose `input_ids` holds a list of token ids for each text."""


def compose_words(
    engine: Engine,
    lexicon_id: int,
    tokenizer: Tokenizer,
    tokens: TokenSenses,
    scratch: Path | None = None,
    advance: Advance = lambda words: None,
) -> WordSenses:
    """The tokens and senses of every word that stands in a relation of the lexicon, in rising word id.

    A word of one token has that token's senses; one of two or three has senses composed of theirs; the others have none
    and a reason.

    Args:
        scratch: folder on whose disk the senses are put; None for memory.
        advance: told numbers of words, often; what it raises ends the work.

    Raises:
        ConfigurationError: that disk is full.
    """
    with engine.connect() as connection:
        words = relation_words(connection, lexicon_id)
    return compose_listed(words, tokenizer, tokens, scratch, advance)


def without_senses(engine: Engine, lexicon_id: int, words: WordSenses) -> bytes:
    """A table, tabs between: every word without senses, why, and the ids of its tokens."""
    with engine.connect() as connection:
        texts = dict(relation_words(connection, lexicon_id))
    rows = zip(words.word_ids.tolist(), words.reasons, words.token_ids, strict=True)
    lines = [
        f"{texts[word]}\t{reason}\t{' '.join(map(str, ids))}\n" for word, reason, ids in rows if reason is not None
    ]
    return "".join(["word\treason\ttokens\n", *lines]).encode("utf-8", "replace")


def reasons_in_words(words: WordSenses) -> list[str]:
    """A line a reason: how many words have no senses for it, and for how many each of the commonest tokens is to blame.

    >>> none = np.zeros(0)
    >>> reasons_in_words(WordSenses(none, [], none, none, ["too many tokens", None, "token without senses: ' x'"]))
    ["words without senses: 1, token without senses: ' x' 1", 'words without senses: 1, too many tokens']
    """
    whole = Counter(reason for reason in words.reasons if reason is not None)
    kinds: dict[str, Counter[str]] = {}
    for reason, count in whole.items():
        kind, _, token = reason.partition(": ")
        kinds.setdefault(kind, Counter())[token] += count
    lines = []
    for kind, blamed in sorted(kinds.items(), key=lambda item: (-item[1].total(), item[0])):
        named = [f"{token} {count:,}" for token, count in blamed.most_common(_MOST_NAMED) if token]
        more = [f"and {len(blamed) - len(named):,} more"] if len(blamed) > _MOST_NAMED else []
        lines.append(
            f"words without senses: {blamed.total():,}, {kind}" + (": " if named else "") + ", ".join(named + more)
        )
    return lines


def compose_listed(
    words: Sequence[tuple[int, str]],
    tokenizer: Tokenizer,
    tokens: TokenSenses,
    scratch: Path | None = None,
    advance: Advance = lambda words: None,
) -> WordSenses:
    """As `compose_words`, of (id, text) pairs in rising id."""
    token_ids = tokenize_words(tokenizer, [text for _, text in words], advance)
    unknown = tokenizer.unk_token_id
    reasons = [_reason(ids, tokens, unknown) for ids in token_ids]
    # The token for the unknown may have senses, which are not this word's.
    token_ids = [() if reason == UNKNOWN else ids for ids, reason in zip(token_ids, reasons, strict=True)]
    offsets, vectors = _composed(token_ids, reasons, tokens, scratch, advance)
    return WordSenses(
        word_ids=np.array([word_id for word_id, _ in words], dtype=np.int64),
        token_ids=token_ids,
        offsets=offsets,
        vectors=vectors,
        reasons=reasons,
    )


def _composed(
    token_ids: Sequence[tuple[int, ...]],
    reasons: Sequence[str | None],
    tokens: TokenSenses,
    scratch: Path | None,
    advance: Advance,
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Offsets (w + 1,) of all words and the senses (n, D) of those of several tokens that have some."""
    rows = [row for row, ids in enumerate(token_ids) if len(ids) > 1 and reasons[row] is None]
    sizes = np.zeros(len(token_ids) + 1, dtype=np.int64)
    for row in rows:
        first = token_ids[row][0]
        sizes[row + 1] = tokens.offsets[first + 1] - tokens.offsets[first]
    offsets = np.cumsum(sizes)
    vectors = scratch_vectors((int(offsets[-1]), tokens.vectors.shape[1]), scratch)
    with tqdm(total=len(rows), desc="words", unit=" words", unit_scale=True, disable=None, leave=False) as bar:
        for places, senses in compose_in_batches(tokens.vectors, tokens.offsets, [token_ids[row] for row in rows]):
            start = 0
            for row in (rows[place] for place in places):
                stop = start + int(sizes[row + 1])
                vectors[offsets[row] : offsets[row + 1]] = senses[start:stop]
                start = stop
            bar.update(len(places))
            advance(len(places))
    return offsets, vectors


def tokenize_words(
    tokenizer: Tokenizer, words: Sequence[str], advance: Advance = lambda words: None
) -> list[tuple[int, ...]]:
    """`tokens_inside` of any number of words, in batches, with a progress bar."""
    found: list[tuple[int, ...]] = []
    with tqdm(total=len(words), desc="tokens", unit=" words", unit_scale=True, disable=None, leave=False) as bar:
        for batch in _batches(words):
            found += tokens_inside(tokenizer, batch)
            bar.update(len(batch))
            advance(len(batch))
    return found


def tokens_inside(tokenizer: Tokenizer, words: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each word as it stands inside a sentence: after another word and a blank, which is cut off again.

    So a byte-level tokenizer sees the blank, and SentencePiece its own mark, without a token for the blank alone. A
    word that the tokenizer joins to every context is tokenized by itself, with the blank where that adds no token.
    """
    found: dict[int, tuple[int, ...]] = {}
    for context in _CONTEXTS:
        missing = [at for at in range(len(words)) if at not in found]
        if not missing:
            break
        (before,) = _tokenize(tokenizer, [context])
        for at, ids in zip(missing, _tokenize(tokenizer, [f"{context} {words[at]}" for at in missing]), strict=True):
            if before and ids[: len(before)] == before and len(ids) > len(before):
                found[at] = tuple(ids[len(before) :])
    alone = [at for at in range(len(words)) if at not in found]
    if alone:
        bare, spaced = _tokenize(tokenizer, ["x", " x"])
        blank = " " if len(spaced) == len(bare) else ""
        for at, ids in zip(alone, _tokenize(tokenizer, [blank + words[at] for at in alone]), strict=True):
            found[at] = tuple(ids)
    return [found[at] for at in range(len(words))]


def _tokenize(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [list(map(int, ids)) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    following = iter(texts)
    while batch := list(islice(following, _BATCH)):
        yield batch


def _reason(token_ids: tuple[int, ...], tokens: TokenSenses, unknown: int | None) -> str | None:
    """Why the word has no senses; None where it has some."""
    if not token_ids or unknown in token_ids:  # what stands for any unknown character says nothing of this one
        return UNKNOWN
    if len(token_ids) > MOST_TOKENS:
        return TOO_MANY
    for token in token_ids:
        if tokens.offsets[token] == tokens.offsets[token + 1]:
            return f"{NO_SENSES}: {tokens.texts[token]!r}"
    return None
