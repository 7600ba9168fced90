"""Answers of the contract put together, from what a database or a file set found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sensedict import wire
from sensedict.lexical import seen_from
from sensedict.lookup import Word
from sensedict.walks import Path


def word_senses(
    found: Word,
    token_texts: Sequence[str],
    senses: Iterable[wire.Sense],
    near: Mapping[int, list[wire.NearWord]],
    pos: Sequence[str],
    glosses: Sequence[wire.Gloss],
) -> wire.WordSenses:
    """The senses of a word, with what lies near each where that was asked for."""
    return wire.WordSenses(
        word=found.text,
        matched=found.matched,
        tokens=list(found.token_ids),
        token_texts=list(token_texts),
        composed=len(found.token_ids) > 1 and found.sense_count > 0,
        senses=[wire.WordSense(**dict(sense), neighbours=near.get(sense.id)) for sense in senses],
        reason=found.reason,
        pos=list(pos),
        glosses=list(glosses),
    )


def path(word: Word, other: Word, found: Path | None) -> wire.Path:
    """A way between two words; None: one of them is a bare token, which has no relations."""
    steps = [] if found is None else [seen_from(near, step, at) for at, (step, near) in enumerate(found.steps, 1)]
    there = word.text == other.text if found is None else found.found
    return wire.Path(
        word=word.text,
        other=other.text,
        found=there,
        words=[word.text, *(step.other for step in steps)] if there else [],
        relations=steps,
        bound=None if found is None else found.bound,
        matched=word.matched,
        other_matched=other.matched,
    )
