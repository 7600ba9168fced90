"""Which of MorphyNet's derivations by a negating affix are negations, which are reversals, and which are neither.

MorphyNet comes from Wiktionary's etymologies: `inhabitable` stands there as in- and `habitable`, as `invisible` does.
"""

from __future__ import annotations

from sensedict_server.lexicon.affixes import shipped_denying, shipped_lookalikes
from sensedict_server.lexicon.relations import NEGATION, REVERSAL

SUFFIX = "less"
_SPELT_IN = {"l": "il", "r": "ir", "b": "im", "m": "im", "p": "im"}  # in- before these letters
_FEWEST_LETTERS = 2  # of a base

# Endings of nouns that name a quality, whose negation is a quality too (certainty), and of those that name an act,
# whose undoing is another act (disarmament).
_QUALITIES = ("ty", "ness", "nce", "ncy", "acy", "cracy", "tude", "ism", "metry", "pathy")
_ACTS = ("tion", "sion", "xion", "ment", "al", "ture")


def spelt(affix: str, base: str) -> tuple[str, ...]:
    """How the base looks with the affix: `("impossible",)` for in- and `possible`."""
    if affix == SUFFIX:
        return (base + SUFFIX, f"{base}-{SUFFIX}")
    prefix = _SPELT_IN.get(base[:1], affix) if affix == "in" else affix
    return (prefix + base,) if affix == "in" else (prefix + base, f"{prefix}-{base}")


def judge(affix: str, base: str, base_pos: str, derived: str, derived_pos: str) -> str | None:
    """`negation`, `reversal` or None for a base and what MorphyNet derives from it.

    Parts of speech are MorphyNet's: N, V, J(adjective), R (adverb), U (unknown).
    """
    if len(base) < _FEWEST_LETTERS or derived in shipped_lookalikes():
        return None
    denying = shipped_denying()
    if denying.get(derived) == "noun":
        return NEGATION
    if affix == SUFFIX:
        return NEGATION if derived_pos == "J" and base_pos in "NVU" else None
    if affix == "in" and base_pos in "VN" and derived_pos == "J":
        return None  # indwelling, inland: into more often than not
    if affix == "non" and base_pos == "N" and derived_pos == "J":
        return None  # nonglass: true of all but one thing, and the opposite of none
    if derived_pos in "JR":
        return NEGATION
    if derived_pos == "N":
        return _judge_noun(affix, derived)
    if derived_pos == "V" and affix in ("un", "dis"):
        if derived.endswith("ed") and not derived.endswith("eed"):
            return None  # a participle that was taken for a verb
        return NEGATION if derived in denying else REVERSAL
    return None


def _judge_noun(affix: str, derived: str) -> str | None:
    if derived.endswith(_QUALITIES):
        return NEGATION
    if derived.endswith(_ACTS):  # nonpayment denies, disarmament undoes
        return {"non": NEGATION, "dis": REVERSAL}.get(affix)
    return None
