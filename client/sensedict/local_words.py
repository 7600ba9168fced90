"""Words, tokens and senses of a file set: what the database knows of them, from the Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from sensedict import wire
from sensedict.beginnings import FoundWord
from sensedict.lookup import MOST_FORMS, Word, token_word
from sensedict.nearby import Owner
from sensedict.parquet import Tables, grouped, places_of

_TOKENS, _WORDS, _SENSES, _CONTEXTS = "tokens.parquet", "words.parquet", "senses.parquet", "contexts.parquet"
_LEXICON, _GLOSSES, _FORMS, _RELATIONS = (
    "lexicon_words.parquet",
    "glosses.parquet",
    "forms.parquet",
    "relations.parquet",
)


class LocalWords:
    """The `WordIndex` and the `Beginnings` of a file set, and what stands beside the words.

    Args:
        licences: of the lexicon's sources, by name.
    """

    def __init__(self, tables: Tables, licences: Mapping[str, str]) -> None:
        self._tables = tables
        self._licences = licences

    def in_relations(self, word: str, *, folded: bool) -> Word | None:
        """See `WordIndex`."""
        places = self._folded_words.get(word.lower(), []) if folded else self._words.get(word, [])
        if not places:
            return None
        place = min(places, key=lambda place: (self._word_texts[place] != word.lower(), place))
        columns = ("word_id", "word", "token_ids", "first_sense", "sense_count", "reason")
        (row,) = self._tables.rows(_WORDS, np.array([place]), columns)
        return Word(
            row["word_id"], row["word"], tuple(row["token_ids"]), row["first_sense"], row["sense_count"], row["reason"]
        )

    def as_token(self, word: str, *, folded: bool) -> Word | None:
        """See `WordIndex`."""
        inside = (f" {word}", word)
        if folded:
            places = places_of(self._folded_tokens, *(text.lower() for text in inside))
        else:
            places = places_of(self._tokens, *inside)
        if not places:
            return None

        def rank(place: int) -> tuple[bool, bool, bool, int]:
            text = self._token_texts[place]
            return (not text.startswith(" "), text not in inside, text != text.lower(), place)

        (row,) = self._tables.rows(
            _TOKENS, np.array([min(places, key=rank)]), ("token_id", "text", "first_sense", "sense_count")
        )
        return token_word(**row)

    def listed_forms(self, word: str, pos: str | None) -> Sequence[str]:
        """See `WordIndex`."""
        listed: list[str] = []
        for asked, other in (("form", "lemma"), ("lemma", "form")):
            places = self._folded_forms[asked].get(word.lower(), [])
            rows = self._tables.rows(_FORMS, np.array(places, np.int64), (asked, other, f"{other}_id", "pos"))
            fitting = [row for row in rows if pos is None or row["pos"] in (pos, None)]
            fitting.sort(key=lambda row: (row[asked] != word, row[f"{other}_id"]))
            listed += [row[other] for row in fitting[:MOST_FORMS]]
        return list(dict.fromkeys(listed))

    def parts_of_speech(self, text: str) -> list[str]:
        """See `WordIndex`."""
        number = self._numbers.get(text)
        if number is None:
            return []
        known: set[str] = set()
        places = (
            (_GLOSSES, "word_id"),
            (_RELATIONS, "word_id"),
            (_RELATIONS, "other_id"),
            (_FORMS, "form_id"),
            (_FORMS, "lemma_id"),
        )
        for name, column in places:
            codes, values = self._tables.codes(name, "pos")
            found = np.unique(codes[self._tables.numbers(name, column) == number])
            known.update(values[code] for code in found.tolist() if code >= 0)
        return sorted(known)

    def tokens_beginning(self, prefix: str, most: int) -> Sequence[FoundWord]:
        """See `Beginnings`."""
        folded = prefix.lower()
        beginning = [places for text, places in self._folded_tokens.items() if text.startswith(folded)]
        places = np.array([place for found in beginning for place in found], np.int64)
        rows = self._tables.rows(_TOKENS, places, ("text", "sense_count", "occurrences", "token_id"))
        rows = [row for row in rows if row["sense_count"]]
        rows.sort(key=lambda row: (row["text"].lower() != folded, -row["occurrences"], row["token_id"]))
        return [FoundWord(row["text"], row["sense_count"], row["occurrences"]) for row in rows[:most]]

    def words_beginning(self, prefix: str, most: int) -> Sequence[FoundWord]:
        """See `Beginnings`."""
        folded = prefix.lower()
        beginning = sorted(text for text in self._folded_words if text.startswith(folded))
        places = [place for text in beginning for place in self._folded_words[text]][:most]
        rows = self._tables.rows(_WORDS, np.array(places, np.int64), ("word", "sense_count", "token_ids"))
        occurrences = self._tables.numbers(_TOKENS, "occurrences")
        return [
            FoundWord(
                row["word"],
                row["sense_count"],
                int(occurrences[row["token_ids"][0]]) if len(row["token_ids"]) == 1 else None,
            )
            for row in rows
        ]

    def glosses_of(self, text: str, pos: str | None = None) -> list[wire.Gloss]:
        """What the sources say that the word means, in their order; as that part of speech, if given."""
        places = np.array(self._glossed.get(text, []), np.int64)
        rows = self._tables.rows(_GLOSSES, places, ("text", "pos", "source"))
        return [
            wire.Gloss(**row, licence=self._licences.get(row["source"], ""))
            for row in rows
            if pos is None or row["pos"] == pos
        ]

    def token(self, token: int) -> tuple[str, int, int, int] | None:
        """(text, occurrences, first sense, number of senses) of a token."""
        for row in self._tables.between(_TOKENS, token, token):
            return row["text"], row["occurrences"], row["first_sense"], row["sense_count"]
        return None

    def token_texts(self, tokens: Sequence[int]) -> list[str]:
        """Texts of the tokens, in the order given, repeats included."""
        return [self._tables.between(_TOKENS, token, token)[0]["text"] for token in tokens]

    def senses(self, first: int, count: int) -> Iterator[wire.Sense]:
        """The senses `first .. first + count` with their contexts: the senses of one owner."""
        if not count:
            return
        passages: dict[int, list[wire.Context]] = {}
        for row in self._tables.between(_CONTEXTS, first, first + count - 1):
            context = wire.Context(text=row["text"], start=row["start"], end=row["end"])
            passages.setdefault(row["sense_id"], []).append(context)
        for row in self._tables.between(_SENSES, first, first + count - 1):
            yield wire.Sense(
                id=row["sense_id"],
                ordinal=row["ordinal"],
                count=row["count"],
                inertia=float(str(np.float32(row["inertia"]))),  # the shortest number, as the database writes it
                contexts=passages.get(row["sense_id"], []),
            )

    def owners(self, senses: Sequence[int]) -> dict[int, Owner]:
        """The owner of each of the senses."""
        places = np.array(senses, np.int64)
        tokens = self._tables.numbers(_SENSES, "token_id")[places].tolist()
        words = self._tables.numbers(_SENSES, "word_id")[places].tolist()
        return {
            sense: Owner(None, self._word_texts[self._place_of_word[word]])
            if token < 0
            else Owner(token, self._token_texts[token])
            for sense, token, word in zip(senses, tokens, words, strict=True)
        }

    @cached_property
    def _token_texts(self) -> list[str]:
        return self._tables.texts(_TOKENS, "text")

    @cached_property
    def _tokens(self) -> dict[str, list[int]]:
        return grouped(self._token_texts)

    @cached_property
    def _folded_tokens(self) -> dict[str, list[int]]:
        return grouped([text.lower() for text in self._token_texts])

    @cached_property
    def _word_texts(self) -> list[str]:
        return self._tables.texts(_WORDS, "word")

    @cached_property
    def _words(self) -> dict[str, list[int]]:
        return grouped(self._word_texts)

    @cached_property
    def _folded_words(self) -> dict[str, list[int]]:
        return grouped([text.lower() for text in self._word_texts])

    @cached_property
    def _place_of_word(self) -> dict[int, int]:
        return {number: place for place, number in enumerate(self._tables.numbers(_WORDS, "word_id").tolist())}

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The lexicon's number of each word that it names."""
        texts = self._tables.texts(_LEXICON, "word")
        return dict(zip(texts, self._tables.numbers(_LEXICON, "word_id").tolist(), strict=True))

    @cached_property
    def _glossed(self) -> dict[str, list[int]]:
        return grouped(self._tables.texts(_GLOSSES, "word"))

    @cached_property
    def _folded_forms(self) -> dict[str, dict[str, list[int]]]:
        return {
            column: grouped([text.lower() for text in self._tables.texts(_FORMS, column)])
            for column in ("form", "lemma")
        }
