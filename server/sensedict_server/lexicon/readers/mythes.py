"""MyThes, the thesaurus files of LibreOffice: a line with the encoding, then `word|n` and n meanings `(pos)|item|item`.

The English one was made from WordNet: an item without a mark is a word of the same synset; ` (antonym)`,
` (generic term)`, ` (similar term)` and ` (related term)` mark the others. All headwords are in small letters: one
that has capitals stands so among the items of its own meaning (`uranus|1`, `(noun)|Uranus|…`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.readers.parts import part_of_speech
from sensedict_server.lexicon.relations import ANTONYM, HYPERNYM, RELATED, SYNONYM, Relation

SPELLING = "items that spell their headword with capitals, taken as the headword"
_MARKS = {"antonym": ANTONYM, "generic term": HYPERNYM, "similar term": RELATED, "related term": RELATED}
_MARKED = re.compile(rf"(.*\S)\s*\(({'|'.join(_MARKS)})\)\s*")
_HEAD = re.compile(r"([^|]*[^|\s][^|]*)\|\s*(\d{1,6})\s*")
_MEANING = re.compile(r"\s*(?:\(([^|]*)\)|-)?\s*\|(.*)")  # `-` or nothing where there is no part of speech


def read(file: File, notes: Notes) -> Iterator[Relation]:
    """Relations of each headword to the items of its meanings.

    Raises:
        InvalidInput: an unknown encoding, text that is not in it, a broken line, or more or fewer meanings than
            announced; names the line.
    """
    lines = _lines(file)
    number = 0
    for number, line in lines:
        if line.isspace() or not line:
            continue
        head = _HEAD.fullmatch(line)
        if head is None:
            if _MEANING.fullmatch(line):
                raise file.broken(number, f"one meaning more than the headword above it announces: {line[:80]!r}")
            raise file.broken(number, f"expected word|n, a headword and the number of its meanings, got {line[:80]!r}")
        word, count = head[1], int(head[2])
        for place in range(count):
            following = next(lines, None)
            meaning = _MEANING.fullmatch(following[1]) if following else None
            if following is None or meaning is None:
                where, got = following or (number + place, "the end of the file")
                raise file.broken(
                    where,
                    f"expected (pos)|item|…: {word!r} announces {count} meanings at line {number}, got {got[:80]!r}",
                )
            yield from _items(word, meaning, notes)


def _items(headword: str, meaning: re.Match[str], notes: Notes) -> Iterator[Relation]:
    """A meaning's items, each to the headword as the meaning spells it."""
    pos = part_of_speech(meaning[1])
    items: list[tuple[str, str]] = []
    word = headword
    for item in meaning[2].split("|"):
        marked = _MARKED.fullmatch(item)
        other, type_ = (marked[1], _MARKS[marked[2]]) if marked else (item, SYNONYM)
        if not other.strip():
            notes.skipped["empty item"] += 1
        elif not marked and _same(other, headword):
            word = other
            notes.counted[SPELLING] += 1
        else:
            items.append((other, type_))
    yield from (Relation(word, other, type_, pos=pos) for other, type_ in items)


def _same(item: str, headword: str) -> bool:
    """Whether they are one word but for case."""
    return item.strip().casefold() == headword.strip().casefold()


def _lines(file: File) -> Iterator[tuple[int, str]]:
    """The lines below the first, numbered from 2, in the encoding that the first one names."""
    numbered = file.byte_lines()
    _, first = next(numbered, (1, b""))
    encoding = _encoding(file, first)
    for number, line in numbered:
        try:
            yield number, line.decode(encoding).rstrip("\r\n")
        except UnicodeDecodeError as error:
            why = f"not {encoding}, the encoding that line 1 names ({error.reason} at byte {error.start + 1})"
            raise file.broken(number, why) from error


def _encoding(file: File, first: bytes) -> str:
    name = first.removeprefix(codecs.BOM_UTF8).strip().decode("ascii", "replace")
    try:
        encoding = codecs.lookup(name.removeprefix("microsoft-")).name  # as Hunspell writes cp1251
        one_byte = b"a|1\n".decode(encoding) == "a|1\n"
    except (LookupError, ValueError, UnicodeError):
        raise file.broken(1, f"expected the name of an encoding, such as UTF-8, got {name[:80]!r}") from None
    if not one_byte:
        raise file.broken(1, f"a file in {name} has no lines to tell apart: convert it to UTF-8")
    return encoding


READER = Reader("mythes", "WordNet licence", "MyThes English (made from WordNet)", read)
