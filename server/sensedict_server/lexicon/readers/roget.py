"""Roget's Thesaurus of 1911, as Project Gutenberg's plain text has it (number 10681).

    12a. [Low spirits.] Gloom -- N. gloom; sorrow, grief &c 7; blues [Slang], dumps, …
    V. be gloomy &c adj.; mourn, grieve; …

Under a head stand paragraphs by part of speech, in them groups by `;`, in them words by `,` in the order of their
meaning: next to each other stand synonyms; across a group the meaning drifts, and where nouns name things (vehicles,
coins, vestments) a group is a list of kinds. So neighbours in a group are synonyms, others near them are related, and
so are turns of phrase (of three words or four), which agree less than words do.
Roget has no mark for opposites: heads that oppose each other are neighbours, but not everywhere, so none are derived.
Some opposites are neighbours in a group (son, daughter): those that our own list has are related, not synonyms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sensedict.errors import InvalidInput
from sensedict_server.lexicon.readers import opposites
from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.readers.parts import part_of_speech
from sensedict_server.lexicon.readers.roget_heads import NAMES_OF_THINGS
from sensedict_server.lexicon.relations import RELATED, SYNONYM, Relation

# How far apart the words of a group may stand. WordNet, HG2Vec and Moby confirm the fewer pairs, the further apart
# they are: of verbs next to each other 2 of 5, with one between 2 of 7, further apart 1 of 5, of nouns fewer still.
_SYNONYMS_REACH = 1
_RELATED_REACH = 6
_MOST_WORDS = 4  # of what is taken at all
_TURN_OF_PHRASE = 3  # words or more
_QUOTED = 3  # words or more before a note in capitals: a quotation and its source
_MOST_CHARACTERS = 2**20  # of a head with its paragraphs; the longest has 8 thousand

_DENYING = frozenset({"un", "in", "im", "il", "ir", "dis", "non", "non-"})
_HEAD = re.compile(r"\s*(\d+[a-z]?)\.? .{1,400}?--(?=\s|$)", re.DOTALL)
_END = re.compile(r"\s*\*\*\* ?END\b")  # of the book; the licence follows
_PART = re.compile(r"(?:^|(?<=--))[ \t]*(N|V|Adj|Adv|Int|Phr)\.(?=\s)", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n(?: {5,}| *\t)")  # other lines stand at the left edge, or four blanks from it
_NOTE = re.compile(r"\[(?!\d+\])([^\[\]]*)\]|\{[^{}]*\}")  # [Lat.], [Hamlet], [of people], {opp. 73}
_PLACE = re.compile(r"\[(\d+)\]")  # of a note that was taken out
_CATALOGUE = re.compile(
    r"\b(?:list|kinds|types|parts|forms|specific|examples|names|functions|science|[\d,]{3,})\b", re.IGNORECASE
)
_FOREIGN = re.compile(r"(?:Lat|Fr|It|G|Ger|Sp|Gr|Jap|Rus|Port|Du|Ar|Afrik|Pers|Hind|Heb)\.?")
# &c 914, &c (friend) 890, &c adj., (imbecility) 499: see there, or: and what derives from it.
_REFERENCE = re.compile(
    r"(?:(?:&c|\betc\b)\.?(?:\s*\([^()]*\))?|\([^()]*\)(?=\s*\d))"
    r"(?:\s*\d+(?:\.\d+)?[a-z]?\b|,?\s*\b(?:n|v|adj|adv)\b(?:\.|(?=\W)))*"
)
_ASIDE = re.compile(r"\([^()]*\)")
_GROUPS = re.compile(r"[;:]|\.(?=\s|\.|$)")
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[' -])*")


@dataclass(frozen=True)
class _Group:
    """Words between two semicolons; None where one was passed over."""

    part: str
    words: list[str | None]
    catalogue: bool  # a list of kinds, of things or of what a note names


def read(file: File, notes: Notes) -> Iterator[Relation]:
    """Neighbours in a group as `synonym`, others not far from each other as `related`.

    Raises:
        InvalidInput: no head of the Thesaurus in the file, HTML, or a head without an end; names the line.
    """
    found = False
    opposed = opposites.pairs_of_opposites()
    for number, text in _blocks(file):
        head = _HEAD.match(text)
        if head is None:
            if found and ";" in text:
                notes.skipped["paragraph outside a head"] += 1
            continue
        if "&amp;" in text:
            raise file.broken(number, "this is HTML; save the text of it, without marks and with `&c` for `&amp;c`")
        found = True
        for group in _groups(head[1], text[head.end() - len("--") :], notes):
            yield from _pairs(group, opposed, notes)
    if not found:
        raise InvalidInput(
            f"{file.path}: no head such as `1. Existence -- N. existence, being` in it; expected the plain text of"
            " Roget's Thesaurus of 1911 (Project Gutenberg 10681)"
        )


def _blocks(file: File) -> Iterator[tuple[int, str]]:
    """What stands between blank lines, with the number of its first line, up to the end of the book."""
    block: list[str] = []
    first = last = size = 0
    ended = False
    for number, line in file.lines():
        if block and (number != last + 1 or ended):
            yield first, "\n".join(block)
            block, size = [], 0
        ended = ended or _END.match(line) is not None
        if ended:
            continue
        first, last = (number if not block else first), number
        block.append(line)
        size += len(line)
        if size > _MOST_CHARACTERS:
            raise file.broken(
                first, "no blank line after this one for a million characters: is this Roget's Thesaurus?"
            )
    if block:
        yield first, "\n".join(block)


def _groups(head: str, text: str, notes: Notes) -> Iterator[_Group]:
    """The groups of a head's paragraphs."""
    texts: list[str] = []  # of the notes, taken out first: they hold commas, full stops and line ends

    def take(note: re.Match[str]) -> str:
        texts.append(" ".join((note[1] or "").split()))
        return f"[{len(texts) - 1}]"

    taken = _NOTE.sub(take, text)
    while taken != text:  # notes within notes
        text, taken = taken, _NOTE.sub(take, taken)
    pieces = _PART.split(text)
    for mark, body in zip(pieces[1::2], pieces[2::2], strict=True):
        part = part_of_speech(mark) or mark
        for paragraph in _PARAGRAPH.split(body):
            line = " ".join(re.sub(r"-\s*\n\s*", "-", paragraph).split())  # all hyphens at line ends are the word's own
            line = _REFERENCE.sub("", line)
            catalogue = (part == "noun" and head in NAMES_OF_THINGS) or any(
                _CATALOGUE.search(texts[int(at)]) for at in _PLACE.findall(line)
            )
            for group in _GROUPS.split(line):
                items = [item for item in group.split(",") if item.strip()]
                yield _Group(part, [_word(item, part, texts, notes) for item in items], catalogue)


def _word(item: str, part: str, texts: list[str], notes: Notes) -> str | None:
    """The word that an item of a group is; None and a count where it is none."""
    after = [texts[int(note[1])] for note in _PLACE.finditer(item) if item[: note.start()].strip()]
    word = _ASIDE.sub(" ", _PLACE.sub(" ", item))
    word = " ".join(word.replace("=", "").replace("_", "").split()).strip("!?")  # f=ete and matin_ee have accents
    word = re.sub(r"^(?:and|or) ", "", word)
    if not word:
        return None  # a reference alone
    words = word.count(" ") + 1
    if part == "phrase":
        reason = "phrase"
    elif any(_FOREIGN.fullmatch(note) for note in after):
        reason = "foreign word"
    elif words >= _QUOTED and any(note[:1].isupper() and not note.endswith(".") for note in after):
        reason = "quotation"
    elif words > _MOST_WORDS:
        reason = f"more than {_MOST_WORDS} words"
    elif not _WORD.fullmatch(word) or word.endswith("-"):
        reason = "not a word"
    else:
        return word
    notes.skipped[reason] += 1
    return None


def _pairs(group: _Group, opposed: frozenset[frozenset[str]], notes: Notes) -> Iterator[Relation]:
    words = group.words
    reach = 0 if group.catalogue or group.part == "interjection" else _SYNONYMS_REACH
    for at, word in enumerate(words):
        if word is None:
            continue
        for distance, other in enumerate(words[at + 1 : at + 1 + _RELATED_REACH], 1):
            if other is None:
                continue
            same = distance <= reach and not _apart(group.part, word, other)
            if same and frozenset((word, other)) in opposed:
                same = False
                notes.counted["neighbours that our list of opposites has, taken as related"] += 1
            yield Relation(word, other, SYNONYM if same else RELATED, pos=group.part)
        beyond = words[at + 1 + _RELATED_REACH :]
        if beyond:
            notes.skipped[f"words more than {_RELATED_REACH} apart in a group"] += len(beyond)


def _apart(part: str, word: str, other: str) -> bool:
    """Whether neighbours are names, turns of phrase, a word and its denial, or kinds of thing: row boat, ferry boat."""
    if word[0].isupper() or other[0].isupper():
        return True
    if max(word.count(" "), other.count(" ")) + 1 >= _TURN_OF_PHRASE:
        return True
    longer, shorter = (word, other) if len(word) > len(other) else (other, word)
    if longer.endswith(shorter) and longer.removesuffix(shorter) in _DENYING:
        return True
    return part == "noun" and " " in word + other and word.rsplit(" ", 1)[-1] == other.rsplit(" ", 1)[-1]


READER = Reader("roget", "public domain", "Roget's Thesaurus 1911 (Project Gutenberg 10681)", read)
