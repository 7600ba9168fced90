"""Which of MorphyNet's derivations by a negating affix are negations, which are reversals, and which are neither.

MorphyNet comes from Wiktionary's etymologies: `inhabitable` stands there as in- and `habitable`, as `invisible` does.
"""

from __future__ import annotations

from sensedict_server.lexicon.negation import DENYING_VERBS
from sensedict_server.lexicon.relations import NEGATION, REVERSAL

SUFFIX = "less"
_SPELT_IN = {"l": "il", "r": "ir", "b": "im", "m": "im", "p": "im"}  # in- before these letters
_FEWEST_LETTERS = 2  # of a base

# Endings of nouns that name a quality, whose negation is a quality too (certainty), and of those that name an act,
# whose undoing is another act (disarmament).
_QUALITIES = ("ty", "ness", "nce", "ncy", "acy", "cracy", "tude", "ism", "metry", "pathy")
_ACTS = ("tion", "sion", "xion", "ment", "al", "ture")

# Nouns that negate, whatever they end in.
_DENYING_NOUNS = """
    disadvantage disagreement disapprobation disapproval disattention disbelief disbeliever disbenefit disclimax
    discomfort discontent discourtesy diseconomy disequilibrium disesteem disfavor disfavour disharmony dishonor
    dishonour disincentive disinclination disinterest dislike disorder dispassion displeasure disproportion disquiet
    disrepute disrespect dissatisfaction disservice distaste distrust disunion disunity disuse immoderation
    impartiality imperfection inaction inattention inattentiveness incaution incompletion incomprehension indecision
    indigestion indiscretion indiscrimination inexpertise infelicity inharmony injustice insubordination
    irresolution unbelief unbeliever unconcern undeath unemployment unhealth unhope uninterest unlife unluck
    unreason unrest unsuccess untruth unwisdom
"""

# Not the opposite of what is left without the affix: another word altogether, the same in meaning, or far from it.
_NO_NEGATIONS = """
    illustrous impassable impassible impassionate impeachy impersonable impersonification impertinent implumed
    importable importance impregnant improvable inable inborn inbound inbred inbuilt incarnate incompact
    inconcerning increditable incult incurved indebted indepth indifference indifferent indoor inessive infamous
    infelt infield inflammable influence inform ingenuine ingracious inhabitability inhabitable inherence inland
    inmost inner innominate inshore inspiral instance intemperament inutterable invaluable inward inwards
    irrespective
    disable disangelical disannul disappoint disappointment disbase disbound disburse discard discase discern
    discharge discolored discoloured discompany discount discover discriminate discurrent discuss disdain disease
    disentrance disfunction disgage disgorge disguise disguize disinfective disjuncture dismal dismarch dismay
    dismiss dismutate disorb dispair disparadise disparented dispatch dispense disperse disphotic display dispope
    dispose disposition dispost disprize disprofit dispunishable dispurse dispute disrotatory disruptive dissection
    dissent dissever dissocial dissolubility dissolution dissolve dissunder dissyllabic dissyllabification
    dissyllabize distemper distemperature distend distill distort distract distress distressing distrouble disturb
    disturnpike disunder disuniate diswarn
    unavoid unbare unbespeak unbethink uncle under union unionise unionised unionization unionize unionized unique
    unit unite united unity universal universe unloose unloosed unloosen unloosened unnova unpeople unravel
    unraveled unravelled unrip unself unstrip unthaw unthawed until unto untrigintillion unvigintillion unwhelm
    unwreathe
    bless doubtless listless needless nevertheless nonetheless numberless priceless regardless shitless unless
    nonce nonchalance nonette nonpareil
"""

_DENYING = frozenset(_DENYING_NOUNS.split())
_NEITHER = frozenset(_NO_NEGATIONS.split())


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
    if len(base) < _FEWEST_LETTERS or derived in _NEITHER:
        return None
    if derived in _DENYING:
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
        return NEGATION if derived in DENYING_VERBS else REVERSAL
    return None


def _judge_noun(affix: str, derived: str) -> str | None:
    if derived.endswith(_QUALITIES):
        return NEGATION
    if derived.endswith(_ACTS):  # nonpayment denies, disarmament undoes
        return {"non": NEGATION, "dis": REVERSAL}.get(affix)
    return None
