"""English Wiktionary as wiktextract writes it (kaikki.org): an object a line for a word, part of speech and etymology.

Related words stand at two levels, in the senses and in the entry itself, and most at the entry's (METHOD: relations).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import orjson

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.readers.parts import PARTS
from sensedict_server.lexicon.readers.wiktextract_fields import NYMS, Listed, Mender, Record, Related, Sense
from sensedict_server.lexicon.readers.wiktextract_glosses import Labels
from sensedict_server.lexicon.readers.wiktextract_notes import is_plain
from sensedict_server.lexicon.readers.wiktextract_targets import targets
from sensedict_server.lexicon.relations import MOST_CHARACTERS, Entry, Form, Gloss, Relation

NO_THESAURUS = "no-thesaurus"
SENSES_ONLY = "senses-only"
OPTIONS = {
    NO_THESAURUS: "leave out what comes from Wiktionary's Thesaurus pages (extractors before 2025-12-18 gave some of "
    "it the wrong type)",
    SENSES_ONLY: "read the related words of senses and leave out those of whole entries, as the paper's release does",
}
_THESAURUS = "Thesaurus:"
_OTHER_LANGUAGE = "entry of another language"
_NO_LANGUAGE = "redirect, or record without lang_code"
_NO_GLOSS = "no senses[].glosses"

_FROM_THESAURUS = (
    "related words from Thesaurus pages: of the wrong type where the extractor is older than 2025-12-18, leave them "
    f"out by {NO_THESAURUS}"
)

# Of a form in an entry's list: each of its tags is one of both, and at least one tells the form from the lemma.
_TELLING_TAGS = "comparative first-person gerund participle past plural superlative third-person"
_OTHER_TAGS = "imperative indicative present second-person singular subjunctive"
_PERIPHRASTIC = ("more ", "most ")  # more beautiful: nothing to look up
# Of a sense that is a `form_of`: a word made from the other, rather than an inflected form of it.
_MADE_FROM_TAGS = "abstract-noun agent augmentative diminutive endearing female feminine frequentative"
# What a lexicographer may want to know of a related word, or to leave out.
_MARK_TAGS = """
    archaic dated derogatory dialectal historical misspelling nonstandard obsolete offensive pejorative proscribed rare
    slang uncommon vulgar
"""
_TELLING = frozenset(_TELLING_TAGS.split())
_INFLECTION = _TELLING.union(_OTHER_TAGS.split())
_MADE_FROM = frozenset(_MADE_FROM_TAGS.split())
_MARKS = frozenset(_MARK_TAGS.split())

_nyms = attrgetter(*NYMS)


def read(file: File, notes: Notes) -> Iterator[Entry]:
    """Relations, forms and glosses of the English entries, in the order of the file and in constant memory.

    Raises:
        InvalidInput: a line that is no JSON object (the line is named), a file that is not whole, or one without an
            English entry.
    """
    return chain.from_iterable(_by_record(file, notes))


def _by_record(file: File, notes: Notes) -> Iterator[list[Entry]]:
    decode = msgspec.json.Decoder(Record).decode
    mender = Mender(notes.skipped, notes.counted)
    take = _Taker(notes).take
    english = 0
    for number, line in file.byte_lines():
        try:
            record = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fields = _parse(file, number, line)
            if fields is None:
                continue
            record = mender.record(fields) if fields.get("lang_code") == "en" else _language(fields)
        if record.lang_code == "en":
            english += 1
            yield take(record)
        else:
            notes.skipped[_OTHER_LANGUAGE if record.lang_code else _NO_LANGUAGE] += 1
    if not english:
        raise InvalidInput(
            f"{file.path}: none of its lines is an entry whose lang_code is 'en'; give the file that wiktextract makes "
            "of the English Wiktionary"
        )


def _language(fields: dict[str, Any]) -> Record:
    """A record with the language alone, where that is known."""
    code = fields.get("lang_code")
    return Record(lang_code=code if isinstance(code, str) else None)


def _parse(file: File, number: int, line: bytes) -> dict[str, Any] | None:
    """The object of a line that is not as it should be; None if the line is blank.

    Raises:
        InvalidInput: it is no JSON object; says why.
    """
    text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    if not text.strip():
        return None
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as wrong:
            raise file.broken(number, f"not UTF-8 ({wrong.reason} at byte {wrong.start + 1})") from error
        raise file.broken(number, f"broken JSON: {error.msg} (character {error.pos + 1})") from error
    if not isinstance(fields, dict):
        raise file.broken(number, f"expected a JSON object, got {text[:80]!r}")
    return fields


class _Taker:
    """Takes entries out of records, and notes what it passes over."""

    def __init__(self, notes: Notes) -> None:
        self._skipped, self._counted = notes.skipped, notes.counted
        self._at_entry = SENSES_ONLY not in notes.options
        self._thesaurus = NO_THESAURUS not in notes.options

    def take(self, record: Record) -> list[Entry]:
        """All that an English record says."""
        found: list[Entry] = []
        word = record.word
        if not word or len(word) > MOST_CHARACTERS:
            self._skipped[f"word longer than {MOST_CHARACTERS} characters" if word else "record without a word"] += 1
            return found
        pos = record.pos
        if pos is None:
            self._counted["no pos"] += 1
        else:
            pos = PARTS.get(pos, pos)
        if not record.senses:
            self._counted["no senses"] += 1
        for sense in record.senses or ():
            if (
                sense.synonyms
                or sense.antonyms
                or sense.hypernyms
                or sense.hyponyms
                or sense.coordinate_terms
                or sense.holonyms
                or sense.meronyms
                or sense.form_of
            ):
                self._sense(sense, word, pos, found)
            elif sense.glosses:
                found.append(Gloss(word, sense.glosses[-1], pos))
            else:
                self._counted[_NO_GLOSS] += 1
        if self._at_entry and (
            record.synonyms
            or record.antonyms
            or record.hypernyms
            or record.hyponyms
            or record.coordinate_terms
            or record.holonyms
            or record.meronyms
        ):
            self._entry(record, word, pos, found)
        if record.forms:
            self._forms(record.forms, word, pos, found)
        return found

    def _sense(self, sense: Sense, word: str, pos: str | None, found: list[Entry]) -> None:
        """What a sense says that has more than a gloss."""
        gloss = sense.glosses[-1] if sense.glosses else None
        if gloss is None:
            self._counted[_NO_GLOSS] += 1
        tags = sense.tags or ()
        hangs = False  # whether the gloss hangs on a relation
        for items, (type_, swapped) in zip(_nyms(sense), NYMS.values(), strict=True):
            for target, _ in self._targets(items, word, tags) if items else ():
                if swapped:
                    found.append(Relation(target, word, type_, None, None, pos))
                else:
                    found.append(Relation(word, target, type_, None, None, pos, gloss))
                    hangs = True
        if sense.form_of and _MADE_FROM.isdisjoint(tags):
            lemmas = chain.from_iterable(self._clean(item.word or "", word) for item in sense.form_of)
            found.extend(Form(word, lemma, pos) for lemma in lemmas)
        elif gloss and not hangs:
            found.append(Gloss(word, gloss, pos))

    def _entry(self, record: Record, word: str, pos: str | None, found: list[Entry]) -> None:
        """The related words of the entry itself, each with the gloss that its label means."""
        labels = Labels(record.senses or [])
        for items, (type_, swapped) in zip(_nyms(record), NYMS.values(), strict=True):
            if not items:
                continue
            last = gloss = None
            for target, label in self._targets(items, word, ()):
                if swapped:
                    found.append(Relation(target, word, type_, None, None, pos))
                    continue
                if label != last:  # one label stands at many items that follow each other
                    last, gloss = label, labels.gloss(label) if label else None
                found.append(Relation(word, target, type_, None, None, pos, gloss))

    def _forms(self, forms: list[Listed], word: str, pos: str | None, found: list[Entry]) -> None:
        """The forms that are plainly inflected ones; the list holds spellings and marks of tables too."""
        for item in forms:
            tags, form = item.tags, item.form
            if not tags or not form or not _INFLECTION.issuperset(tags) or _TELLING.isdisjoint(tags):
                continue
            if form == word or not form.strip("-–— ") or form.startswith(_PERIPHRASTIC):
                self._skipped["form that is no other word"] += 1
            else:
                found.append(Form(form, word, pos))

    def _targets(self, items: list[Related], word: str, tags: Sequence[str]) -> list[tuple[str, str | None]]:
        """The words of a list, each with the label of the sense it belongs to; `tags` are those of the sense."""
        found: list[tuple[str, str | None]] = []
        for item in items:
            target = item.word
            if target and target != word and (target.isalpha() or is_plain(target)):  # clean, as most are
                words = None
            else:
                words = self._clean(target or "", word)
                if not words:
                    continue
            if (tags or item.tags or item.source) and not self._wanted(item, tags):
                continue
            if words is None or len(words) == 1:
                found.append((words[0] if words else target or "", item.sense))
            else:
                found.extend((several, item.sense) for several in words)
        return found

    def _wanted(self, item: Related, tags: Sequence[str]) -> bool:
        """Whether the options let the item in; counts what is worth knowing of one that comes in."""
        if item.source and item.source.startswith(_THESAURUS):
            if not self._thesaurus:
                self._skipped["from a Thesaurus page"] += 1
                return False
            self._counted[_FROM_THESAURUS] += 1
        for mark in _MARKS.intersection((*tags, *(item.tags or ()))):
            self._counted[f"related words marked {mark}"] += 1
        return True

    def _clean(self, text: str, word: str) -> list[str]:
        """The words of a target, with what was done to it counted."""
        words, left_out, seen = targets(text, word)
        if left_out or seen:
            self._skipped.update(left_out)
            self._counted.update(seen)
        return words


READER = Reader(
    "wiktextract",
    "CC BY-SA 4.0 and GFDL (Wiktionary)",
    "dump and extractor not stated",
    read,
    options=OPTIONS,
)
