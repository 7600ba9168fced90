"""Which gloss of an entry a label means: `to annul by authoritative act`, before the synonyms of a whole entry."""

from __future__ import annotations

import re

from sensedict_server.lexicon.readers.wiktextract_fields import Sense

_FIRST_WORD = re.compile(r"(?:to|a|an|the|of)\s+")
_LINE = "\n"
_STOPS = " .,:;()"
_BEHIND = frozenset("\n .,:;")  # what ends a label of whole words


class Labels:
    """The glosses of an entry, to be found by a label; they are folded once, and only where there is a label."""

    def __init__(self, senses: list[Sense]) -> None:
        self._senses = senses
        self._glosses: list[str] = []
        self._text = ""  # the glosses in one case, a line each
        self._found: dict[str, str | None] = {}

    def gloss(self, label: str) -> str | None:
        """The gloss that the label means, or the label itself where none or more than one may be meant.

        It means the only gloss that begins with it, else the only one that holds it; of several that begin with it,
        the one that says nothing else. Case, a first article and stops at the ends do not count. A label of one word
        must stand at the beginning. None where the label is empty.
        """
        if label not in self._found:
            self._found[label] = self._find(label)
        return self._found[label]

    def _find(self, label: str) -> str | None:
        text = self._text or self._fold()
        folded = label.lower()
        at = text.find(_LINE + folded)  # where most stand, if anywhere
        if at >= 0 and text.rfind(_LINE + folded) == at and text[at + len(folded) + 1] in _BEHIND:
            return self._glosses[text.count(_LINE, 0, at)]
        folded = folded.strip(_STOPS)
        if not folded:
            return None
        first = _FIRST_WORD.match(folded)
        folded = folded[first.end() :] if first else folded
        places = self._places(folded)
        starting = [place for place in places if self._starts(place)]
        if not starting and " " in folded:
            starting = places
        if len(starting) > 1:
            starting = [place for place in starting if self._ends(place + len(folded))][:1]
        return self._glosses[text.count(_LINE, 0, starting[0]) - 1] if len(starting) == 1 else label

    def _fold(self) -> str:
        glosses = [sense.glosses[-1] for sense in self._senses if sense.glosses]
        self._glosses = [gloss.replace(_LINE, " ") for gloss in glosses] if _LINE in "".join(glosses) else glosses
        # Not casefold, which takes many times as long: glosses are English.
        self._text = _LINE + _LINE.join(self._glosses).lower() + _LINE
        return self._text

    def _places(self, folded: str) -> list[int]:
        """Where in the text it stands as whole words."""
        text, places = self._text, []
        at = text.find(folded)
        while at >= 0:
            if not (text[at - 1].isalnum() or text[at + len(folded)].isalnum()):
                places.append(at)
            at = text.find(folded, at + 1)
        return places

    def _starts(self, place: int) -> bool:
        """Whether nothing but an article stands before it in its line."""
        before = self._text[self._text.rfind(_LINE, 0, place) + 1 : place]
        return not before or _FIRST_WORD.fullmatch(before) is not None

    def _ends(self, place: int) -> bool:
        """Whether nothing but stops stands behind it in its line."""
        return not self._text[place:].partition(_LINE)[0].strip(_STOPS)
