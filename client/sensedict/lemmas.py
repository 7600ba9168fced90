"""Base forms that an English word may be an inflection of, by its ending alone: walked → walk, running → run.

The endings are the detachment rules of WordNet's `morphy`, and the changes of spelling that morphy leaves to its lists
of exceptions: doubled consonants (stopped → stop), y and i (tried → try, happier → happy, dying → die), knives → knife.
A rule knows no words: which candidate is one, the caller looks up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOUN = ("noun",)
_VERB = ("verb",)
_EITHER = ("noun", "verb")
_COMPARED = ("adjective", "adverb")
_VOWELS = frozenset("aeiouy")
_FEWEST_LETTERS = 2  # of a lemma: `as` is no plural of `a`


@dataclass(frozen=True, slots=True)
class Detachment:
    """One rule: take the ending off, put `instead` in its place.

    Attributes:
        ending: what the word ends in; may look at the letters before it.
        instead: what the lemma ends in instead, `\\1` for the letter in brackets.
        pos: parts of speech that inflect so.
        syllable: whether what stands before the ending must have a vowel, so that `red` and `king` are no inflections.
    """

    ending: re.Pattern[str]
    instead: str
    pos: tuple[str, ...]
    syllable: bool = False


def _rule(ending: str, instead: str, pos: tuple[str, ...], *, syllable: bool = False) -> Detachment:
    return Detachment(re.compile(f"(?:{ending})\\Z"), instead, pos, syllable)


def _added(suffixes: str, pos: tuple[str, ...]) -> tuple[Detachment, ...]:
    """Rules of suffixes that begin with a vowel: it doubles a consonant or swallows an e before it."""
    return (
        _rule(rf"(?<=[^\W_]{{2}})([bdgkmnprt])\1(?:{suffixes})", r"\1", pos, syllable=True),  # running; not adding
        _rule(rf"([a-z])\1(?:{suffixes})", r"\1\1", pos, syllable=True),  # falling, passed, adding
        # noticed, used, argued, moved, freed (but seeing is of see)
        _rule(rf"(?:(?<=[csuvz])|(?<=e)(?=e))(?:{suffixes})", "e", pos, syllable=True),
        # hoping, nicer: not of hop and nic
        _rule(rf"(?<=[^aeiou][aeiouy][^aeiouwxy])(?:{suffixes})", "e", pos, syllable=True),
        _rule(suffixes, "", pos, syllable=True),
        _rule(suffixes, "e", pos, syllable=True),
        _rule(rf"([bdfglmnprstz])\1(?:{suffixes})", r"\1", pos, syllable=True),  # travelled
    )


# The better guess first: a rule that asks for more letters stands before the rule that it is an exception of.
DETACHMENTS: tuple[Detachment, ...] = (
    _rule("(?<=[cs]h)es", "", _EITHER),  # churches, wishes
    _rule("(?<=ss)es|(?<=x)es|(?<=zz)es", "", _EITHER),  # classes, boxes, buzzes
    _rule("zzes", "z", _EITHER),  # quizzes
    _rule("(?<=l)ves", "f", _NOUN),  # wolves; saves is of save, so other words in -ves come further down
    _rule(r"(?<=\b[a-z])ies", "ie", _EITHER),  # ties
    _rule("ies", "y", _EITHER),  # ponies, tries
    _rule("men", "man", _NOUN),  # firemen
    _rule("(?<!s)s", "", _EITHER),  # walks, horses, sizes
    _rule("(?<=[osz])es", "", _EITHER),  # heroes, buses, quartzes
    _rule("ves", "f", _NOUN),  # leaves
    _rule("ves", "fe", _NOUN),  # knives
    _rule("es", "", _VERB),
    _rule(r"(?<=\b[a-z])ied", "ie", _VERB),  # tied
    _rule("ied", "y", _VERB),  # tried
    _rule(r"(?<=\b[a-z])ying", "ie", _VERB),  # dying
    *_added("ed", _VERB),
    *_added("ing", _VERB),
    _rule("ying", "ie", _VERB),  # untying
    _rule("ie(?:r|st)", "y", _COMPARED),  # happier
    *_added("er|est", _COMPARED),
)


def lemma_candidates(word: str) -> list[tuple[str, str]]:
    """What the word may be an inflected form of: (lemma, part of speech), the better guess first, without the word.

    Endings are looked for in small letters; the letters before them stay as they are. Irregular forms (went, mice) are
    not a matter of rules: sources list them.

    >>> lemma_candidates("running")[:2]
    [('run', 'verb'), ('runn', 'verb')]
    >>> lemma_candidates("walks")
    [('walk', 'noun'), ('walk', 'verb')]
    """
    found: dict[tuple[str, str], None] = {}
    for rule in DETACHMENTS:
        match = rule.ending.search(word)
        if match is None:
            continue
        stem = word[: match.start()]
        lemma = stem + match.expand(rule.instead)
        if len(lemma) < _FEWEST_LETTERS or lemma == word or (rule.syllable and not _has_vowel(stem)):
            continue
        found.update(((lemma, pos), None) for pos in rule.pos)
    return list(found)


def _has_vowel(text: str) -> bool:
    """Whether it can be said; letters outside ASCII count as vowels."""
    return any(letter in _VOWELS or not letter.isascii() for letter in text.lower())
