"""Word sense disambiguation with the dictionary's senses as the inventory, named by the WordNet keys of SemCor.

Each use of an entry (lemma and part of speech) in SemCor gives its key a vote at the sense that is nearest to its
state. A use of the test sets gets the key with the most votes of its entry at its own nearest sense, and where there
are none the most frequent key of the entry in all of SemCor. An entry that SemCor does not have is not answered.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensedict_trainer.sense_quality.book import SenseBook, Vectors, cosines
from sensedict_trainer.sense_quality.reading import Coverage, Reading, UseReader
from sensedict_trainer.sense_quality.statistics import Measure, Statistic, Truths, f1, measured, share
from sensedict_trainer.sense_quality.word_in_context import CENTROID, SENSES, STATE
from sensedict_trainer.sense_quality.wordnet_keys import SemCor, TaggedUse, load_framework, load_semcor

FREQUENT = "most frequent sense"
FREQUENT_READ = "most frequent sense read"
NAME = "wsd"


@dataclass(frozen=True)
class Votes:
    """How often each key was seen at a place: `at[entry, place]` of an entry's uses, which may be in many places."""

    at: defaultdict[tuple[str, int], Counter[str]]

    @classmethod
    def of(cls, uses: Iterable[tuple[str, int, Sequence[str]]]) -> Votes:
        """Votes of (entry, place, keys)."""
        votes: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        for entry, place, keys in uses:
            votes[entry, place].update(keys)
        return cls(votes)

    def key(self, entry: str, place: int) -> str | None:
        """The key with the most votes, of equals the first seen; None without a vote."""
        votes = self.at.get((entry, place))
        return votes.most_common(1)[0][0] if votes else None


def evaluate_wsd(
    senses: Path, reader: UseReader, book: SenseBook, sentences: int, seed: int
) -> tuple[list[Measure], list[Coverage], list[Reading]]:
    """F1 on the five test sets together; coverage; and what was read.

    Args:
        sentences: of SemCor that the teacher reads, chosen by seed.
    """
    tests, semcor = load_framework(senses), load_semcor(senses)
    chosen = np.random.default_rng(seed).permutation(len(semcor.whole))[:sentences]
    learnt = [use for place in sorted(chosen.tolist()) for use in semcor.whole[place]]
    seen = [Coverage("wsd SemCor"), Coverage("wsd ALL")]
    trained = reader.read([tagged.use for tagged in learnt], seen[0])
    read = reader.read([tagged.use for tagged in tests], seen[1])
    answers = answer(learnt, trained, tests, read, semcor, book)
    readings = [reading for reading in (*trained, *read) if reading is not None]
    return _measures(tests, answers, learnt, seed), seen, readings


def answer(
    learnt: Sequence[TaggedUse],
    trained: Sequence[Reading | None],
    tests: Sequence[TaggedUse],
    read: Sequence[Reading | None],
    semcor: SemCor,
    book: SenseBook,
) -> dict[str, list[str | None]]:
    """A key of each test use, or None, by each thing that can tell; without what SemCor's frequencies would fill in."""

    def places(uses: Sequence[TaggedUse], found: Sequence[Reading | None]) -> list[tuple[str, int, int, Sequence[str]]]:
        """Entry, nearest sense, first sense of the owner, keys; -1 without an owner."""
        return [
            (tagged.entry, -1, -1, tagged.keys)
            if reading is None or reading.owner is None
            else (tagged.entry, book.nearest(reading.state, reading.owner), reading.owner.first, tagged.keys)
            for tagged, reading in zip(uses, found, strict=True)
        ]

    known, asked = places(learnt, trained), places(tests, read)
    by_sense = Votes.of((entry, sense, keys) for entry, sense, _, keys in known if sense >= 0)
    by_owner = Votes.of((entry, first, keys) for entry, _, first, keys in known if first >= 0)
    counted = Votes.of(
        (tagged.entry, 0, tagged.keys) for part in (semcor.whole, semcor.verbs) for s in part for tagged in s
    )
    of_read = Votes.of((entry, 0, keys) for entry, _, _, keys in known)
    means = _key_means(learnt, trained)
    return {
        SENSES: [by_sense.key(entry, sense) for entry, sense, _, _ in asked],
        STATE: [_nearest_key(means, tagged, reading) for tagged, reading in zip(tests, read, strict=True)],
        CENTROID: [by_owner.key(entry, first) for entry, _, first, _ in asked],
        FREQUENT: [counted.key(tagged.entry, 0) for tagged in tests],
        FREQUENT_READ: [of_read.key(tagged.entry, 0) for tagged in tests],
    }


def _key_means(uses: Sequence[TaggedUse], read: Sequence[Reading | None]) -> dict[str, tuple[list[str], Vectors]]:
    """For each entry its keys and the mean state of each, (keys, D): the usual nearest-mean method on plain states."""
    states: defaultdict[str, defaultdict[str, list[Vectors]]] = defaultdict(lambda: defaultdict(list))
    for tagged, reading in zip(uses, read, strict=True):
        if reading is not None:
            for key in tagged.keys:
                states[tagged.entry][key].append(reading.state)
    return {
        entry: (list(keys), np.stack([np.mean(some, axis=0) for some in keys.values()]))
        for entry, keys in states.items()
    }


def _nearest_key(means: dict[str, tuple[list[str], Vectors]], tagged: TaggedUse, reading: Reading | None) -> str | None:
    if reading is None or tagged.entry not in means:
        return None
    keys, vectors = means[tagged.entry]
    return keys[int(cosines(reading.state[None], vectors).argmax())]


def _measures(
    tests: Sequence[TaggedUse], answers: dict[str, list[str | None]], learnt: Sequence[TaggedUse], seed: int
) -> list[Measure]:
    """F1 with SemCor's most frequent key where a way has none; and accuracy where senses decide between keys."""
    frequent = answers[FREQUENT]
    keys_of: defaultdict[str, set[str]] = defaultdict(set)
    for tagged in learnt:
        keys_of[tagged.entry].update(tagged.keys)
    decided = np.flatnonzero(
        [
            said is not None and len(keys_of[tagged.entry]) > 1
            for tagged, said in zip(tests, answers[SENSES], strict=True)
        ]
    )
    of_all: dict[str, Statistic] = {}
    where_decided: dict[str, Statistic] = {}
    for by, said in answers.items():
        filled = said if by == FREQUENT_READ else [a or b for a, b in zip(said, frequent, strict=True)]
        right = np.array([given in tagged.keys for given, tagged in zip(filled, tests, strict=True)], bool)
        of_all[by] = _f1(right, np.array([given is not None for given in filled], bool))
        where_decided[by] = share(right[decided])
    return [
        *measured(NAME, "F1", of_all, len(tests), len(tests), seed),
        *measured(NAME, "accuracy where senses decide", where_decided, len(decided), len(tests), seed),
    ]


def _f1(right: Truths, answered: Truths) -> Statistic:
    return lambda places: f1(right[places], answered[places])
