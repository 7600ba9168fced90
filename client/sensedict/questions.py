"""The questions that a dictionary answers, each once, for every client: which requests it takes, and what they tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sensedict import wire
from sensedict.bulk_questions import BulkQuestions
from sensedict.errors import InvalidInput, MalformedBody
from sensedict.exchange import Call, Found, Parameters, Request, Stream, ask, json_as
from sensedict.paths import write_whole

T = TypeVar("T")


class Questions(BulkQuestions):
    """Every question to one dictionary: those that people ask, and the bulk reads."""

    def jobs(self, state: wire.JobState | None = None) -> Stream[wire.JobInfo]:
        """The builds of the service, newest first, of one state or of any; pages are fetched on the way."""
        cursor: str | None = None
        while True:
            asked: Parameters = {"state": state, "cursor": cursor}
            page = yield from ask(Request(wire.JOBS, json_as(wire.JobPage), parameters=asked))
            yield from map(Found, page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def job(self, job: int) -> Call[wire.JobDetail]:
        """One build of the service, with its progress and the end of its log.

        Raises:
            JobNotFound: there is none of that number.
        """
        return (yield from ask(Request(wire.JOB, json_as(wire.JobDetail), {"job": job})))

    def word(self, word: str, *, pos: str | None = None, neighbours: int = 0) -> Call[wire.WordSenses]:
        """The senses of a word, spelt as it stands in text, with the glosses of the lexicon's sources.

        Args:
            pos: only as this part of speech, where sources have it: noun, verb, adjective, adverb or another.
            neighbours: how many of the nearest words each sense is to come with.

        Raises:
            WordNotFound: it is neither in a relation nor a single token, and no form or lemma of it is.
            InvalidInput: it is empty or longer than `limits()` lets it be, or the lexicon has no such pos.
        """
        spelt = yield from self._checked(word)
        asked: Parameters = {"word": spelt, "pos": pos, "neighbours": neighbours or None}
        return (yield from self._get(wire.WORD_SENSES, wire.WordSenses, asked))

    def words(self, prefix: str, limit: int = 12) -> Call[wire.WordList]:
        """Words that can be asked for and begin so, whatever their case: the word itself, then those used most.

        Raises:
            InvalidInput: the prefix can begin no word, or the limit is not 1 .. `max_listed_words` of `limits()`.
        """
        asked: Parameters = {"prefix": (yield from self._checked(prefix)), "limit": limit}
        return (yield from self._get(wire.WORDS, wire.WordList, asked))

    def sense_map(self, word: str, *, related: int = 8, neighbours: int = 2) -> Call[wire.SenseMap]:
        """The senses of a word, of its synonyms and antonyms, and the nearest others, on a plane (DSKD Figure 1).

        Args:
            related: synonyms, and as many antonyms: those used most.
            neighbours: nearest other words of each sense.

        Raises:
            WordNotFound: it is neither in a relation nor a single token, and no form or lemma of it is.
            NotInSnapshot: a file set has no maps.
        """
        spelt = yield from self._checked(word)
        asked: Parameters = {"word": spelt, "related": related, "neighbours": neighbours}
        return (yield from self._get(wire.SENSE_MAP, wire.SenseMap, asked))

    def token(self, token: int) -> Call[wire.TokenSenses]:
        """The senses of a token id.

        Raises:
            TokenNotFound: the vocabulary does not hold it.
        """
        return (yield from self._get(wire.TOKEN_SENSES, wire.TokenSenses, token=token))

    def sense(self, sense: int) -> Call[wire.SenseDetail]:
        """One sense with its contexts, its owner and its vector.

        Raises:
            SenseNotFound: the dictionary does not hold it.
        """
        return (yield from self._get(wire.SENSE, wire.SenseDetail, sense=sense))

    def contexts(self, sense: int) -> Call[list[wire.Context]]:
        """The passages in which a sense was used; empty where the build kept none.

        Raises:
            SenseNotFound: the dictionary does not hold it.
        """
        return (yield from self.sense(sense)).contexts

    def neighbours(self, sense: int, limit: int = 10) -> Call[wire.SenseNeighbours]:
        """The nearest senses of other owners than the sense's own, nearest first.

        Raises:
            SenseNotFound: the dictionary does not hold it.
        """
        return (yield from self._get(wire.NEIGHBOURS, wire.SenseNeighbours, {"limit": limit}, sense=sense))

    def relations(
        self,
        word: str,
        type: str | Sequence[str] | None = None,
        *,
        direction: wire.Direction = "both",
        depth: int = 1,
        source: str | None = None,
        rule: str | None = None,
        pos: str | None = None,
        limit: int | None = None,
    ) -> Stream[wire.Relation]:
        """The relations of a word and, at a depth above 1, of the words around it; pages are fetched on the way.

        `relation_pages` takes the same and also tells how the word matched and whether the walk was cut.
        """
        asked = _walk(word, type, direction=direction, depth=depth, source=source, rule=rule, pos=pos)
        yield from self._pages(asked, limit, False, lambda page: page.relations)

    def relation_pages(
        self,
        word: str,
        type: str | Sequence[str] | None = None,
        *,
        direction: wire.Direction = "both",
        depth: int = 1,
        source: str | None = None,
        rule: str | None = None,
        pos: str | None = None,
        limit: int | None = None,
        count: bool = False,
    ) -> Stream[wire.RelationPage]:
        """The pages of `relations`, by depth and then id, each relation once.

        Args:
            type: only relations of this type, or of these.
            direction: `out` for relations that lead from a word to the next, `in` for those that lead to it; symmetric
                ones do both.
            depth: steps from the word, to `max_depth` of `limits()`; the filters hold for every step.
            source: only relations of this source.
            rule: only those derived by this rule, `negation:un-`, or kind of rule, `negation`.
            pos: only those of this part of speech.
            limit: no more than so many relations together; None: all.
            count: the first page is to tell the `total` of all.

        Raises:
            WordNotFound: it is neither in a relation nor a single token, and no form or lemma of it is.
            InvalidInput: the word, the direction, the depth or the limit cannot be, or the lexicon has no relation of
                this type, source, rule or pos.
        """
        asked = _walk(word, type, direction=direction, depth=depth, source=source, rule=rule, pos=pos)
        yield from self._pages(asked, limit, count, lambda page: [page])

    def path(
        self,
        word: str,
        other: str,
        type: str | Sequence[str] | None = None,
        *,
        direction: wire.Direction = "both",
    ) -> Call[wire.Path]:
        """A shortest way between two words along relations; `found` is false where there is none within the limits.

        Raises:
            WordNotFound: one of them is neither in a relation nor a single token, and no form or lemma of it is.
            InvalidInput: a word cannot be one, or the lexicon has no relation of this type.
        """
        asked: Parameters = {
            "word": (yield from self._checked(word)),
            "other": (yield from self._checked(other)),
            "type": type,
            "direction": None if direction == "both" else direction,
        }
        return (yield from self._get(wire.PATH, wire.Path, asked))

    def explain(self, relation: int) -> Call[wire.Explanation]:
        """Where a relation comes from: its derivation back to what a source lists, and who judged it.

        Raises:
            RelationNotFound: the dictionary's lexicon does not hold it.
        """
        return (yield from self._get(wire.RELATION, wire.Explanation, relation=relation))

    def download_id_map(self, to: str, file: Path) -> Call[None]:
        """Write the published map of sense ids from this dictionary to another to a Parquet file, whole or not at all.

        Args:
            to: `name@version` or `name@alias`.

        Raises:
            DictionaryNotFound: the service has no dictionary `to`.
            IdMapNotFound: `sensedict diff --publish` was not run for these two.
        """
        places = yield from self._places()
        content = yield from ask(Request(wire.ID_MAP, lambda body: body, places, {"to": to}, wire.PARQUET))
        if not (content.startswith(b"PAR1") and content.endswith(b"PAR1")):
            raise MalformedBody(f"what the service gave as the map to {to!r} is no Parquet file: check the address")
        write_whole(file, content)

    def moves(self, word: str, to: str) -> Call[wire.SenseMoves]:
        """What became of the senses of a word from this dictionary to another, as the published map of ids has it.

        Args:
            to: `name@version` or `name@alias`.

        Raises:
            WordNotFound: this dictionary does not know the word.
            DictionaryNotFound, IdMapNotFound: see `download_id_map`.
        """
        asked: Parameters = {"word": (yield from self._checked(word)), "to": to}
        return (yield from self._get(wire.ID_MAP_OF_WORD, wire.SenseMoves, asked))

    def history(self) -> Call[list[wire.HistoryEvent]]:
        """Who did what with the dictionary, when and why, oldest first; a service alone knows."""
        return (yield from self._get(wire.HISTORY, list[wire.HistoryEvent]))

    def _pages(
        self,
        asked: Parameters,
        limit: int | None,
        count: bool,
        give: Callable[[wire.RelationPage], Sequence[T]],
    ) -> Stream[T]:
        """What `give` makes of each page of relations; no more relations are asked for than are wanted."""
        if limit is not None and limit < 1:
            raise InvalidInput(f"limit is the number of relations, 1 or more, got {limit}")
        word = yield from self._checked(str(asked["word"]))
        largest = (yield from self.limits()).max_page
        cursor: str | None = None
        left = limit
        whole_walk = largest if asked["depth"] else None  # the service walks anew for each page, so they are large
        while left is None or left > 0:
            size = whole_walk if left is None else min(left, largest)
            counting = "true" if count and cursor is None else None
            turned: Parameters = {**asked, "word": word, "limit": size, "count": counting, "cursor": cursor}
            page = yield from self._get(wire.RELATIONS, wire.RelationPage, turned)
            yield from map(Found, give(page))
            cursor = page.next_cursor
            if cursor is None:
                return
            left = None if left is None else left - len(page.relations)


def _walk(
    word: str,
    type: str | Sequence[str] | None,
    *,
    direction: wire.Direction,
    depth: int,
    source: str | None,
    rule: str | None,
    pos: str | None,
) -> Parameters:
    return {
        "word": word,
        "type": type,
        "direction": None if direction == "both" else direction,
        "depth": None if depth == 1 else depth,
        "source": source,
        "rule": rule,
        "pos": pos,
    }
