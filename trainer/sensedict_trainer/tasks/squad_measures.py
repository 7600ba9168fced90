"""How good a written answer is: token F1, exact match and abstention, as SQuAD's own script counts words."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NO_ANSWER = "No answer"
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Measured:
    """How good one written answer is.

    Attributes:
        f1: token F1, the best over the right answers; 0 to 1.
        exact: whether it is one of them, normalized.
        abstained: whether it is `No answer`.
        empty: whether it holds no word.
    """

    f1: float
    exact: bool
    abstained: bool
    empty: bool


def measure(answer: str, right: Sequence[str]) -> Measured:
    """How good an answer is where `right` are the right ones, none where the question has no answer.

    `No answer` is right where there is none, and wrong elsewhere; nothing else is right where there is none. An answer
    without a word is always wrong: SQuAD's own script takes it for an abstention, and would give a model that writes
    nothing half of all points.
    """
    abstained = normalize(answer) == normalize(NO_ANSWER)
    empty = not normalize(answer)
    if abstained or empty or not right:
        good = abstained and not right
        return Measured(float(good), good, abstained, empty)
    f1 = max(token_f1(answer, gold) for gold in right)
    return Measured(f1, any(normalize(answer) == normalize(gold) for gold in right), abstained, empty)


def normalize(answer: str) -> str:
    """An answer as SQuAD's own script compares it: lower case, no punctuation, no articles, single blanks.

    >>> normalize("  The Duke of  Normandy's.")
    'duke of normandys'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def token_f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall of the answer's words, as SQuAD's own script counts them.

    >>> token_f1("the Duke of Rouen", "Duke William of Normandy")  # 2 words of 3 are right, and 2 of 4
    0.5714285714285714
    """
    given, wanted = normalize(answer).split(), normalize(gold).split()
    if not given or not wanted:
        return float(given == wanted)
    same = sum((Counter(given) & Counter(wanted)).values())
    return 2 * same / (len(given) + len(wanted))


def abstention(abstained: Sequence[bool], due: Sequence[bool]) -> dict[str, float]:
    """Precision and recall of `No answer`, each where it has a meaning.

    Args:
        abstained: by question, whether the answer was `No answer`; due: whether it ought to be.
    """
    both = sum(said and ought for said, ought in zip(abstained, due, strict=True))
    counts = {"no_answer_precision": sum(abstained), "no_answer_recall": sum(due)}
    return {name: both / count for name, count in counts.items() if count}
