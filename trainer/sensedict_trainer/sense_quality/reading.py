"""Uses of words read by the teacher: the hidden state of a use, at the dictionary's state point and under its key.

A dictionary of the key `input` has the states of a word's own tokens; one of `next` or `predicted` those of the
positions before them, from which the tokens are about to be said. A sentence is read after the token that begins a
text, as lm-evaluation-harness reads a text without a context: so its first word has a state before it, and is not the
position that decoders use as a sink of attention, whose state is far from all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sensedict_trainer.harvest import harvest_into
from sensedict_trainer.sense_quality.book import SenseBook, Vectors
from sensedict_trainer.sense_quality.data_sets import Use
from sensedict_trainer.sense_quality.owners import Owner
from sensedict_trainer.state_points import parse_state_point
from sensedict_trainer.text import TokenWindow, prefix_of

if TYPE_CHECKING:
    from sensedict.source import Identity
    from sensedict_trainer.teacher import Teacher

NO_PLACE = "no word at the place named"
TOO_LONG = "beyond the teacher's context"
NO_STATE = "no state before the first token"
NO_SENSES = "no senses"
_BATCH = 32  # sentences of the longest kind a forward pass
_BEFORE = frozenset(".,;:!?)]}%") | {"'s", "'", "''", "n't", "'re", "'ve", "'ll", "'d", "'m"}  # no blank before
_AFTER = frozenset("([{$") | {"``"}  # no blank after


@dataclass(frozen=True)
class Reading:
    """A use that was read.

    Attributes:
        tokens: of the word where it stands.
        state: (D,) float32, the mean over its tokens, less the mean of the dictionary's senses.
        owner: whose senses it is told by: its token, or the word as it is spelt; None without senses.
        lemma: the owner of the lemma, by whose senses uses of two forms are told apart.
    """

    tokens: tuple[int, ...]
    state: Vectors
    owner: Owner | None
    lemma: Owner | None


@dataclass
class Coverage:
    """How many uses or words of a data set can be told by senses, and why the others cannot.

    Attributes:
        of: name of the data set.
        total, covered: all, and those with senses.
        missing: number of the others by reason.
    """

    of: str
    total: int = 0
    covered: int = 0
    missing: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"of": self.of, "total": self.total, "covered": self.covered, "missing": dict(self.missing)}

    def count(self, reason: str | None) -> None:
        """Count one, that has senses or has not for that reason."""
        self.total += 1
        if reason is None:
            self.covered += 1
        else:
            self.missing[reason] += 1


class UseReader:
    """Reads uses with a teacher; a sentence that several uses stand in is read once a call."""

    def __init__(self, teacher: Teacher, identity: Identity, book: SenseBook) -> None:
        self._teacher, self._book = teacher, book
        self._point = parse_state_point(identity.state_point)
        self._back = 0 if identity.key_policy == "input" else 1
        self._begin = _beginning(teacher)
        self._longest = getattr(teacher.model.config.get_text_config(), "max_position_embeddings", None)

    def read(self, uses: Sequence[Use], coverage: Coverage) -> list[Reading | None]:
        """The uses in order; None where there is no state.

        Args:
            coverage: told of every use.
        """
        windows, tokens_of = self._tokenize(dict.fromkeys(use.words for use in uses))
        places: list[NDArray[np.int64] | str] = [self._places(use, tokens_of) for use in uses]
        numbers = {words: number for number, words in enumerate(tokens_of)}
        wanted: list[set[int]] = [set() for _ in windows]
        for use, place in zip(uses, places, strict=True):
            if not isinstance(place, str):
                wanted[numbers[use.words]].update((place - self._back).tolist())
        rising = [np.array(sorted(some), np.int64) for some in wanted]
        ends = np.cumsum([0, *map(len, rising)])
        states = np.zeros((int(ends[-1]), self._teacher.dim), np.float16)
        slots = [np.arange(start, end) for start, end in pairwise(ends)]
        total = sum(len(window.ids) for window, some in zip(windows, rising, strict=True) if len(some))
        with tqdm(total=total, desc=coverage.of, unit=" tokens", unit_scale=True, disable=None, leave=False) as bar:
            harvest_into(self._teacher, windows, rising, slots, states, _BATCH, bar.update, None, self._point)
        found: list[Reading | None] = []
        for use, place in zip(uses, places, strict=True):
            if isinstance(place, str):
                coverage.count(place)
                found.append(None)
                continue
            number = numbers[use.words]
            rows = ends[number] + np.searchsorted(rising[number], place - self._back)
            ids = windows[number].ids[place]
            reading = self._reading(use, tuple(ids.tolist()), states[rows].astype(np.float32).mean(axis=0))
            coverage.count(None if reading.owner else NO_SENSES)
            found.append(reading)
        return found

    def _reading(self, use: Use, tokens: tuple[int, ...], state: Vectors) -> Reading:
        owner = self._book.of_token(tokens[0]) if len(tokens) == 1 else None
        lemma = self._book.of_word(use.lemma) if use.lemma else None
        return Reading(tokens, state - self._book.mean, owner or self._book.of_word(use.form), lemma)

    def _tokenize(
        self, sentences: Iterable[tuple[str, ...]]
    ) -> tuple[list[TokenWindow], dict[tuple[str, ...], list[NDArray[np.int64]]]]:
        """A window of each sentence, cut at the teacher's context, and where the tokens of each of its words are."""
        joined = {words: join_words(words) for words in sentences}
        if not joined:
            return [], {}
        encoded = self._teacher.tokenizer(
            [text for text, _ in joined.values()],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        windows, tokens_of = [], {}
        rows = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for number, ((words, (_, spans)), (ids, offsets)) in enumerate(zip(joined.items(), rows, strict=True)):
            whole = np.array([*self._begin, *ids], np.int32)[: self._longest]
            windows.append(TokenWindow(f"sentence {number + 1}", whole))
            edges = np.array(offsets, np.int64).reshape(-1, 2)
            tokens_of[words] = [
                np.flatnonzero((edges[:, 0] < end) & (edges[:, 1] > start)) + len(self._begin) for start, end in spans
            ]
        return windows, tokens_of

    def _places(self, use: Use, tokens_of: dict[tuple[str, ...], list[NDArray[np.int64]]]) -> NDArray[np.int64] | str:
        """(m,) positions of the word's tokens in its window; or why there is no state."""
        if not use.form:
            return NO_PLACE
        tokens = tokens_of[use.words][use.place]
        if not len(tokens):
            return NO_PLACE
        if self._longest is not None and int(tokens[-1]) >= self._longest:
            return TOO_LONG
        return NO_STATE if int(tokens[0]) < self._back else tokens


def join_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """A sentence as it is printed, without the blanks that tokenized data has before marks, and each word's span.

    >>> join_words(["It", "is", "n't", "(", "so", ")", "."])[0]
    "It isn't (so)."
    """
    text, spans = "", []
    for place, word in enumerate(words):
        if place and word not in _BEFORE and words[place - 1] not in _AFTER:
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
    return text, spans


def _beginning(teacher: Teacher) -> list[int]:
    """What a sentence is read after: what the tokenizer puts before a text, else its token of a beginning or end."""
    tokenizer = teacher.tokenizer
    if before := prefix_of(tokenizer):
        return before
    for id in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if id is not None:
            return [id]
    return []
