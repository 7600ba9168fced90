"""What stands where Wiktionary should have a word: notes, pointers and marks are cut off, or the target is left out."""

from __future__ import annotations

import re

from sensedict_server.lexicon.readers.wiktextract_notes import (
    MOST_WORDS,
    is_label,
    is_note,
    is_plain,
    is_pointer,
    is_wordless,
    split,
    without_label,
)
from sensedict_server.lexicon.relations import MOST_CHARACTERS

EMPTY = "target without a word"
NOTE = "target that is a note"
HEADWORD = "target that is the headword itself"
POINTER = "target that points to another page"
BRACKETS = "target with brackets inside"
MARKUP = "target with markup"
YEARS = "target that is a span of years"
TOO_LONG = f"target longer than {MOST_CHARACTERS} characters"
MENDED = "targets with a note cut off"
SPLIT = "targets that list several words, each taken"
COMMA = "targets with a comma inside, taken whole"
LONG = f"targets of more than {MOST_WORDS} words, taken whole"

# Of pages that are no words; Wikisaurus is the Thesaurus before 2017.
_PAGE = r"(?:Thesaurus|Wikisaurus|Appendix|Category|Citations|Reconstruction|Rhymes|Template|Wikipedia|w)\s?:\s?\S"
_AND_PAGE = re.compile(rf"[\s,;]+(?:(?:and|or|&)\s+)?(?:(?:see|more)\s+(?:also\s+|at\s+)?)?:?{_PAGE}.*", re.I | re.S)
_POINTS = re.compile(
    rf"(?:(?:see|more)[\s:]+(?:also\b[\s:]*|at\b[\s:]*)?|compare:?\s+|cf\.\s*)?:?{_PAGE}.*", re.I | re.S
)
_SEE_ALSO = re.compile(r"(?:see\s+also|see|more\s+at)(?:\s*:\s*|(?<=also)\s+|(?<=more\sat)\s+)\S.*", re.I | re.S)
_PLACE = re.compile(r"#\w")  # `#Noun`, a place in the page of the headword
_ANCHOR = re.compile(r"(?<=\S)#\S.*", re.S)  # `cat#Noun`; C# is a word
_NOTE_AFTER = re.compile(r"\s+(?:\([^()]*\)|\[[^\[\]]*\])\s*$")
_NOTE_BEFORE = re.compile(r"^\s*(?:\([^()]*\)|\[[^\[\]]*\])\s+")
_MARKUP = re.compile(r"\{\{|\}\}|\[\[|\]\]|<[a-z/!]|''|&(?:#\d+|[a-z]+);", re.I)
_BRACKET = re.compile(r"[()\[\]{}]")
_YEARS = re.compile(r"\d{3,4}\s?[-–—]\s?(?:\d{2,4})?")
_LOOSE_END = re.compile(r"^[\s,;:]+(?=\w)|[\s,;:]+$|\s+[-–—]\s*$")
_QUOTED = re.compile(r"[\"“”„](.*)[\"“”]", re.S)


def targets(text: str, headword: str) -> tuple[list[str], list[str], list[str]]:
    """The words of a target, most often one; why some of it is left out; and what else is worth counting.

    >>> targets("1. dogs, hounds", "mutt")
    (['dogs', 'hounds'], [], ['targets with a note cut off', 'targets that list several words, each taken'])
    """
    left_out: list[str] = []
    seen: list[str] = []
    word, note = clean(text, headword)
    if word is None:
        return [], [note or EMPTY], seen
    if note is not None:
        seen.append(note)
    if "," not in word and ";" not in word and " " not in word:
        return [word], left_out, seen
    parts = split(word)
    if len(parts) > 1:
        seen.append(SPLIT)
    words: list[str] = []
    for part in parts:
        cleaned, note = (part, None) if len(parts) == 1 else clean(part, headword)
        if cleaned is None:
            left_out.append(note or EMPTY)
            continue
        if "," in cleaned:
            seen.append(COMMA)
        if cleaned.count(" ") >= MOST_WORDS:
            seen.append(LONG)
        words.append(cleaned)
    return words, left_out, seen


def clean(text: str, headword: str) -> tuple[str | None, str | None]:
    """The word of a target, with what was done to it: `MENDED` or None; or None, with the reason to leave it out.

    >>> clean("hel (17th century)", "hell")
    ('hel', 'targets with a note cut off')
    >>> clean("more at Thesaurus:man", "man")
    (None, 'target that points to another page')
    >>> clean("b/c", "because")
    ('b/c', None)
    """
    if len(text) > MOST_CHARACTERS:
        return None, TOO_LONG
    if is_plain(text):
        return (text, None) if text != headword else (None, HEADWORD)  # nothing below could find another fault
    text = text.strip()
    reason = _reason(text)
    if reason is not None:
        return None, reason
    word = without_label(_AND_PAGE.sub("", text) if ":" in text else text)
    if "#" in word:
        word = _ANCHOR.sub("", word)
    word = _bare(_LOOSE_END.sub("", word))
    if _BRACKET.search(word):  # colo(u)r: two words in one; `): feline cat`: what is left of a note
        return None, BRACKETS
    if is_wordless(word):
        return None, EMPTY
    if is_pointer(word) or _SEE_ALSO.fullmatch(word):
        return None, POINTER
    if is_note(word):
        return None, NOTE
    if word == headword:
        return None, HEADWORD
    return word, MENDED if word != text else None


def _reason(text: str) -> str | None:
    """Why nothing of the target can be a word; None where something may be."""
    if not text:
        return EMPTY
    if is_pointer(text) or _SEE_ALSO.fullmatch(text) or (":" in text and _POINTS.fullmatch(text)) or _PLACE.match(text):
        return POINTER
    if _MARKUP.search(text):
        return MARKUP
    if is_label(text):
        return NOTE
    return YEARS if _YEARS.fullmatch(text) else None


def _bare(word: str) -> str:
    """Without notes in brackets before and after, and without the quotation marks round all of it."""
    if "(" in word or "[" in word:
        while (shorter := _NOTE_AFTER.sub("", _NOTE_BEFORE.sub("", word))) != word:
            word = shorter
    quoted = None if word[:1].isalnum() else _QUOTED.fullmatch(word)
    return (quoted[1] if quoted else word).strip()
