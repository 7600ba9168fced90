"""WordNet's own files, the folder `dict`: data.noun, data.verb, data.adj, data.adv, and noun.exc … (wndb(5WN)).

A line of a data file is a synset: words of one meaning, pointers to other synsets, and a gloss. Where a pointer leads,
it says as a byte offset, so each version has its own; they are followed in the files at hand.

What pointers become. Antonyms are word to word, as WordNet has them. Hypernyms, holonyms and `similar to` hold between
synsets; all words of one times all words of the other would be twice as many pairs and say no more, so each word of a
synset gets *one* other, the first of the other synset, by which lexicographers name it. An instance's class (Einstein,
physicist) is a hypernym like any other. `similar to` runs from a satellite adjective to its head (arid, dry); the two
differ in degree or scope, so it is `related` and never trains as synonymy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.relations import (
    ANTONYM,
    HOLONYM,
    HYPERNYM,
    RELATED,
    SYNONYM,
    Entry,
    Form,
    Gloss,
    Relation,
)

PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
_SUFFIXES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}  # of the files, by the letter of a pointer
_TYPES = {
    "!": ANTONYM,
    "@": HYPERNYM,
    "@i": HYPERNYM,
    "#m": HOLONYM,
    "#s": HOLONYM,
    "#p": HOLONYM,
    "&": RELATED,
}
_INVERSES = frozenset({"~", "~i", "%m", "%s", "%p"})  # of those; nothing is lost
_NOT_TAKEN = {
    "+": "derivationally related form",
    "=": "attribute",
    "^": "see also",
    "$": "verb group",
    "*": "entailment",
    ">": "cause",
    "<": "participle",
    "\\": "pertainym",
} | {domain + kind: "domain" for domain in ";-" for kind in "cru"}
_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand: galore(ip)
_EXAMPLES = re.compile(r'[;:]\s*".*|,\s*"[^"]*"\s*$')
_COPYRIGHT = re.compile(r"\s*\d*\s*(\S.*?)\s+Copyright\b")
_CREATIVE_COMMONS = re.compile(r"\bCC[- ]BY(-SA)? (\d\.\d)")


@dataclass(frozen=True, slots=True)
class Pointer:
    """From words of a synset to words of another.

    Attributes:
        symbol: its kind, as `@`.
        pos, offset: the other synset: letter of its file, and byte there.
        source, target: which word of either, from 1; 0 for the synset as a whole.
    """

    symbol: str
    pos: str
    offset: int
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Synset:
    """One line of a data file; `type` is n, v, a, s (a satellite adjective) or r."""

    type: str
    words: tuple[str, ...]
    pointers: tuple[Pointer, ...]
    gloss: str | None


def read(file: File, notes: Notes) -> Iterator[Entry]:
    """Synonyms, antonyms, hypernyms, holonyms, related adjectives, the gloss of every word, and irregular forms.

    Raises:
        InvalidInput: a data file is missing, a line is broken, or a pointer leads nowhere; names file and line.
    """
    if not file.within("data.noun").path.is_file() and file.within("dict").path.is_dir():
        file = file.within("dict")
    database = _Database(file)
    notes.version, notes.licence = database.version, database.licence
    for data in database.files.values():
        for number, synset in data.synsets():
            yield from synonyms(synset.words, PARTS[synset.type], synset.gloss)
            yield from _pointed(synset, data, number, database, notes)
    for pos, suffix in _SUFFIXES.items():
        exceptions = file.within(f"{suffix}.exc")
        if exceptions.path.is_file():
            yield from _forms(exceptions, PARTS[pos])
        else:
            notes.counted[f"no {exceptions.path.name}, so no irregular forms of it"] += 1


def synonyms(words: Iterable[str], pos: str | None, gloss: str | None) -> Iterator[Relation | Gloss]:
    """All pairs of a synset's words, and its gloss for each of them."""
    distinct = list(dict.fromkeys(words))
    if gloss:
        yield from (Gloss(word, gloss, pos) for word in distinct)
    for place, word in enumerate(distinct):
        yield from (Relation(word, other, SYNONYM, pos=pos, gloss=gloss) for other in distinct[place + 1 :])


def parse(line: str) -> Synset:
    """A line of a data file.

    >>> found = parse("00000123 00 s 02 arid 0 bone_dry(p) 0 001 & 00000045 a 0000 | having no water; \\"arid land\\"")
    >>> found.words, found.pointers[0].offset, found.gloss
    (('arid', 'bone dry'), 45, 'having no water')

    Raises:
        ValueError: it is none; says why.
    """
    fields, bar, gloss = line.partition("| ")
    parts = fields.split()
    if len(parts) < 4 or parts[2] not in PARTS:
        raise ValueError("expected a synset: offset, file number, one of n v a s r, number of words, …")
    at = 4 + 2 * _number(parts[3], 16)
    words = tuple(_MARKER.sub("", word).replace("_", " ") for word in parts[4:at:2])
    if at == 4 or len(parts) <= at:
        raise ValueError(f"expected {parts[3]} (hexadecimal) words and the number of pointers")
    count = _number(parts[at], 10)
    pointed = parts[at + 1 : at + 1 + 4 * count]
    if len(pointed) != 4 * count:
        raise ValueError(f"expected {parts[at]} pointers of four fields each")
    pointers = tuple(_pointer(*pointed[i : i + 4]) for i in range(0, len(pointed), 4))
    definition = _EXAMPLES.sub("", gloss).strip(" ;:,\t\r\n") if bar else ""
    return Synset(parts[2], words, pointers, definition or None)


def _pointer(symbol: str, offset: str, pos: str, ends: str) -> Pointer:
    if pos not in PARTS or len(ends) != 4:
        raise ValueError(f"expected a pointer as '@ 00001740 n 0000', got '{symbol} {offset} {pos} {ends}'")
    letter = "a" if pos == "s" else pos
    return Pointer(symbol, letter, _number(offset, 10), _number(ends[:2], 16), _number(ends[2:], 16))


def _number(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError as error:
        raise ValueError(f"{text[:20]!r} is no {'hexadecimal ' if base == 16 else ''}number") from error


class _Data:
    """A data file in memory (the largest has 15 MB), to be read in order and at offsets."""

    def __init__(self, file: File) -> None:
        if not file.path.is_file():
            raise InvalidInput(
                f"{file.path} is missing: `wordnet:` takes WordNet's folder `dict`, which holds data.noun, data.verb, "
                "data.adj and data.adv"
            )
        self.file = file
        self.content = b"".join(line for _, line in file.byte_lines())
        self._words: dict[int, tuple[str, ...]] = {}  # of synsets that were pointed at

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Its lines, numbered from 1, without their ends."""
        return enumerate(self.content.split(b"\n"), 1)

    def synsets(self) -> Iterator[tuple[int, Synset]]:
        """Its synsets, each with the number of its line."""
        for number, line in self.lines():
            if line.strip() and not line.startswith(b"  "):  # two blanks begin a line of the licence
                try:
                    synset = parse(line.decode("utf-8"))
                except ValueError as error:
                    raise self.file.broken(number, _reason(error)) from error
                yield number, synset

    def words_at(self, offset: int) -> tuple[str, ...] | None:
        """The words of the synset that begins at this byte and says so; None where none does."""
        words = self._words.get(offset)
        if words is None:
            end = self.content.find(b"\n", offset)
            line = self.content[offset : end if end >= 0 else None]
            stated, _, _ = line.partition(b" ")
            if not stated.isdigit() or int(stated) != offset or self.content[offset - 1 : offset] not in (b"", b"\n"):
                return None
            try:
                words = self._words[offset] = parse(line.decode("utf-8")).words
            except ValueError as error:
                raise self.file.broken(self.content.count(b"\n", 0, offset) + 1, _reason(error)) from error
        return words


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 ({error.reason} at byte {error.start + 1})"
    return str(error)


class _Database:
    """The four data files.

    Attributes:
        files: by the letter that pointers have for them.
        version, licence: as the head of the first file states them; None where it does not.
    """

    def __init__(self, folder: File) -> None:
        self.files = {pos: _Data(folder.within(f"data.{suffix}")) for pos, suffix in _SUFFIXES.items()}
        head: list[str] = []
        for _, line in self.files["n"].lines():
            if not line.startswith(b"  "):
                break
            head.append(line.decode("utf-8", "replace"))
        versions = [match[1] for match in map(_COPYRIGHT.match, head) if match]
        self.version = versions[0] if versions else None
        # Open English WordNet states another licence than Princeton's at the same place.
        licences = [match for match in map(_CREATIVE_COMMONS.search, head) if match]
        self.licence = f"CC BY{licences[0][1] or ''} {licences[0][2]}" if licences else None


def _pointed(synset: Synset, data: _Data, number: int, database: _Database, notes: Notes) -> Iterator[Relation]:
    """Relations from a synset's words to words of others."""
    pos = PARTS[synset.type]
    for pointer in synset.pointers:
        type_ = _TYPES.get(pointer.symbol)
        if type_ is None:
            if pointer.symbol in _NOT_TAKEN:
                notes.skipped[f"pointer of another kind: {_NOT_TAKEN[pointer.symbol]}"] += 1
            elif pointer.symbol not in _INVERSES:
                notes.counted[f"pointers of an unknown kind {pointer.symbol}"] += 1
            continue
        if pointer.symbol == "&" and synset.type != "s":
            continue  # the satellite points back
        words = database.files[pointer.pos].words_at(pointer.offset)
        if words is None:
            there = database.files[pointer.pos].file.path
            raise data.file.broken(
                number,
                f"points at byte {pointer.offset} of {there}, where no synset begins that says so; the files were "
                "changed or are of two versions: unpack all of them again",
            )
        if pointer.source > len(synset.words) or pointer.target > len(words):
            raise data.file.broken(number, f"points at a word that is not there: {pointer}")
        sources = synset.words if pointer.source == 0 else (synset.words[pointer.source - 1],)
        other = words[max(pointer.target, 1) - 1]
        yield from (Relation(word, other, type_, pos=pos, gloss=synset.gloss) for word in dict.fromkeys(sources))


def _forms(file: File, pos: str) -> Iterator[Form]:
    """Irregular forms: `went go`, one or more lemmas after the form."""
    for number, line in file.lines():
        form, *lemmas = (field.replace("_", " ") for field in line.split())
        if not lemmas:
            raise file.broken(number, f"expected a form and its lemmas, got {line[:80]!r}")
        yield from (Form(form, lemma, pos) for lemma in lemmas)


READER = Reader("wordnet", "WordNet licence", "WordNet", read, takes="folder")
