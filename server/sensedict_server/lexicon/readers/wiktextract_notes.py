"""Notes where Wiktionary should have words: labels and numbers before a word, hints for readers, lists in one."""

from __future__ import annotations

import re
import unicodedata

MOST_WORDS = 5  # of a target that is not counted as perhaps a sentence; set phrases have more, but few

# Words of letters alone, of which some begin a note: any other text of so few words needs no closer look.
_SUSPECT = """
    above all also antonym antonyms any both broader capitals cf cities compare confer contrast countries
    especially figurative first following genera genus in kinds languages list lists literal most names
    narrower near negation opposite other provinces second see sense senses several some species specific
    strict strictest synonym synonyms third this towns types usually various vide wider
"""
_FIRST_WORDS = frozenset((*_SUSPECT.split(), *_SUSPECT.title().split()))
_LAST_WORDS = frozenset({"sense", "senses"})

_NUMBER = r"(?:\d{1,2}|[a-h]|[ivx]{1,4})[)]\s+|\d{1,2}[.:]\s+"  # 1. and a), not A. Lincoln or i. Br.
_LABEL_WORD = (
    "abbreviation|also|American|antonyms?|approximate|archaic|Australian?|British|broadly|Canadian?|childish|colloquial|"
    "comparative|compare|coordinate|dated|derogatory|dialectal|dialect|England|especially|euphemistic|familiar|"
    "figurative|formal|form|general|generally|historical|humorous|hyponyms?|hypernyms?|India|Ireland|Irish|jocular|"
    "informal|Internet|literary|literal|medical|modern|near|neuter|NZ|obsolete|offensive|often|old|partial|plural|poetic|"
    "present|proscribed|rare|regional|Scotland|Scottish|Scots|sense|singular|slang|South Africa|specifically|"
    "superlative|standard|synonyms?|technical|UK|US|USA|usually|vulgar|verb|noun|adjective|adverb"
)
# `informal: mutt`, `in the sense of dog: mutt`; a title (Star Trek: Voyager) begins with a capital, few labels do.
_LABEL = rf"(?:(?i:{_LABEL_WORD})(?:(?:\s*,\s*|\s+)(?i:or|and|{_LABEL_WORD}))*|[a-z][a-z ,/()-]{{2,50}}?)\s*:\s+"
_HEDGE = (
    r"(?:(?:e\.g|i\.e|esp|usu|viz)\.(?=\s)|(?i:also (?:known as|called|spelled)|(?:especially|usually),?(?=\s+\S+$)))"
    r"\s*"
)
_TAXON = r"(?i:genus|genera|species)\s+(?=[A-Z][a-z]+$)"
_BEFORE = re.compile(rf"\s*(?:{_NUMBER}|{_LABEL}|{_HEDGE}|{_TAXON})(?=\S)")

_LABEL_SIGN = re.compile(r"[:)]|\A\s*\d|\A(?:[a-z]+\.|[Aa]lso|[Ee]specially|[Uu]sually|[Gg]en|[Ss]pec)")  # in all those
_BEHIND = re.compile(
    r"\s*,\s*(?:archaic|colloquial|dated|derogatory|dialectal|formal|informal|obsolete|q\.\s?v\.|slang|UK|US|vulgar)$"
)
_POINTS = re.compile(
    r"(?:cf\b\.?|(?:compare|confer|see|vide|contrast)\s*:|q\.\s?v\.|See (?!of\b|you\b|ya\b)[a-z])\s*.*"
    r"|see (?:above|below|there|under \S.*|entry .*|the entry .*|\S+ above|\S+ below)"
    r"|compare (?:with |to )\S.*",
    re.S,
)
_FIELD = (
    r"\w{2,}(?:ology|onomy|istry|ography|ometry)|"
    "acoustics|aesthetics|algebra|anatomy|architecture|art history|baseball|botany|chess|computing|"
    "cricket|economics|engineering|finance|genetics|grammar|law|linguistics|logic|mathematics|"
    "mechanics|medicine|music|optics|philosophy|phonetics|physics|poker|politics|programming|"
    "prosody|psychiatry|semantics|sports|statistics|the military"
)
_WHOLE = re.compile(
    r"(?:(?:in|for|of)\s+)?(?:(?:all|both|other|most|some|any|several|various|broader|narrower|wider|strict|strictest|"
    r"literal|figurative|specific|this|first|second|third|above|following)\s+)(?:(?:other|of the)\s+)*senses?"
    r"|senses?\s+(?:\d.*|[a-h]|above|below)"
    rf"|in\s+(?:{_FIELD})"
    r"|(?:lists?|types|kinds|names)\s+(?:of|in)\s+\S.*"
    r"|(?:all|any|many|various)\s+(?:kinds|types|members|species)\s+of\s+\S.*"
    r"|(?:(?:near[- ])?(?:synonym|antonym)s?|opposite|negation)\s+(?:of|for|to)\s+\S.*",
    re.I,
)
_CATEGORY = re.compile(
    r"(?:Countries|Cities|Towns|Languages|Capitals|Provinces|Types|Kinds|Names)\s+(?:of|in|by)\s+\S.*"
)
# What is said of words rather than with them; `House of Representatives` and `get used to` are words.
_SAID = re.compile(
    r"\b(?:negates|negating|denotes|denoting|represents|representing|refers to|referring to|synonymous with|"
    r"(?:is|are) (?:a|an) (?:kind|type|form|synonym) of|in the sense of|(?:any )?members? of the (?:sub|super)?"
    r"(?:genus|family|order|tribe|class|species)|species (?:of|in) the (?:genus|family)|e\.g|i\.e)\b",
    re.I,
)
_SAID_WORDS = 3  # or more
_SAID_MARKS = frozenset(  # one of which is in all that it finds
    {*("negates", "negating", "denotes", "denoting", "represents", "representing", "refers", "referring", "synonymous")}
    | {*("is", "are", "sense", "member", "members", "species")}
)

_SEPARATOR = re.compile(r"\s*;\s+|\s+/\s+|(?<=[a-z]{5})\.\s+(?=[a-z]{3})")
_SEVERAL = re.compile(r"[;,]|[/.]\s")
_SINGLE_WORDS = re.compile(r"[^\W\d_A-Z]{2,}(?:,\s*[^\W\d_A-Z]{2,})+")
_SIGNS = "&*@#%§"


def is_plain(text: str) -> bool:
    """Whether it is words of letters alone, of which nothing is a note: most are, and this is quick to tell."""
    if not text.replace(" ", "").isalpha() and (
        not text.replace(" ", "").replace("-", "").replace("'", "").isalpha() or " -" in text or "''" in text
    ):
        return False
    words = text.split(" ")
    if len(words) == 1:
        return True
    if words[0] in _FIRST_WORDS or words[-1] in _LAST_WORDS or len(words) > MOST_WORDS:
        return False
    return len(words) < _SAID_WORDS or _SAID_MARKS.isdisjoint(words)


def without_label(text: str) -> str:
    """Without the numbers, labels and hedges before the word, or a label behind it.

    >>> without_label("1. informal: mutt"), without_label("Star Trek: Voyager"), without_label("at 6: 15")
    ('mutt', 'Star Trek: Voyager', 'at 6: 15')
    """
    while _LABEL_SIGN.search(text) and (label := _BEFORE.match(text)):
        text = text[label.end() :]
    return _BEHIND.sub("", text) if "," in text else text


def is_pointer(text: str) -> bool:
    """Whether it sends the reader to another word: `cf. mutt`; `see red` is a word."""
    return _POINTS.fullmatch(text) is not None


def is_note(text: str) -> bool:
    """Whether it says something of words and is none: `all senses`, `in logic`, `Countries of the world`."""
    if _WHOLE.fullmatch(text) or _CATEGORY.fullmatch(text):
        return True
    return text.count(" ") + 1 >= _SAID_WORDS and _SAID.search(text) is not None


def is_label(text: str) -> bool:
    """Whether it is a label without a word: `slang:`."""
    return text.endswith(":") and text[0].isalpha()


def is_wordless(text: str) -> bool:
    """Whether it has no letter or digit, and is no sign that stands for a word, as `&` for and, `£` for pound."""
    return not any(c.isalnum() or c in _SIGNS or unicodedata.category(c)[0] == "S" for c in text)


def split(text: str) -> list[str]:
    """The words of a target that lists several; commas part single words in small letters alone.

    >>> split("dogs, hounds"), split("no pain, no gain"), split("there, there"), split("and/or"), split("dog; cur")
    (['dogs', 'hounds'], ['no pain, no gain'], ['there, there'], ['and/or'], ['dog', 'cur'])
    """
    found: list[str] = []
    if not _SEVERAL.search(text):
        return [text]
    for part in _SEPARATOR.split(text):
        words = [word.strip() for word in part.split(",")]
        several = _SINGLE_WORDS.fullmatch(part) and len(set(words)) == len(words)
        found.extend(words if several else [part])
    return [part for part in found if part.strip()] or [text]
