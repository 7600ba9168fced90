"""Which gloss of an entry a label means: `to annul by authoritative act`, before the synonyms of a whole entry."""

from __future__ import annotations

from sensedict_server.lexicon.readers.wiktextract_fields import Sense

_ARTICLES = ("to ", "a ", "an ", "the ", "of ")
_FIRST_WORDS = (*_ARTICLES, *map(str.capitalize, _ARTICLES))
_LINE = "\n"
_STOPS = " .,:;()"


class Labels:
    """The glosses of an entry, to be found by a label."""

    def __init__(self, senses: list[Sense]) -> None:
        self._senses = senses
        self._glosses: list[str] = []
        self._text = ""  # the glosses, a line each; put together once there is a label

    def gloss(self, label: str) -> str | None:
        """The gloss that the label means, or the label itself where none or more than one may be meant.

        It means the only gloss that begins with it, else the only one that holds it; of several that begin with it,
        the one that says nothing else. The case of the first letter, a first article and stops at the ends do not
        count. A label of one word must stand at the beginning. None where the label is empty.
        """
        core = label.strip(_STOPS)
        if core.startswith(_FIRST_WORDS):
            core = core[core.index(" ") :].strip()
        if len(core) < 2:
            return label if core else None
        places = self._places(core)
        if not places:
            return label
        meant = [place for place in places if self._starts(place)]
        if len(meant) > 1:
            meant = [place for place in meant if self._ends(place + len(core))][:1]
        elif not meant and " " in core:
            meant = places
        return self._glosses[self._text.count(_LINE, 0, meant[0]) - 1] if len(meant) == 1 else label

    def _places(self, core: str) -> list[int]:
        """Where in the text it stands as whole words."""
        text, places = self._text or self._joined(), []
        rest = core[1:]  # only the first letter may be of another case: to put all in one takes as long as all else
        at = text.find(rest)
        while at >= 0:
            behind = at + len(rest)
            if not (text[at - 2].isalnum() or text[behind].isalnum()) and text[at - 1].lower() == core[0].lower():
                places.append(at - 1)
            at = text.find(rest, behind)
        return places

    def _joined(self) -> str:
        self._glosses = [sense.glosses[-1] for sense in self._senses if sense.glosses]
        self._text = f"{_LINE}{_LINE.join(self._glosses)}{_LINE}"
        if self._text.count(_LINE) > len(self._glosses) + 1:  # a gloss of several lines
            self._text = _LINE.join(("", *(gloss.replace(_LINE, " ") for gloss in self._glosses), ""))
        return self._text

    def _starts(self, place: int) -> bool:
        """Whether nothing but an article stands before it in its line."""
        before = self._text[self._text.rfind(_LINE, 0, place) + 1 : place]
        return not before or before in _FIRST_WORDS

    def _ends(self, place: int) -> bool:
        """Whether nothing but stops stands behind it in its line."""
        return not self._text[place : self._text.index(_LINE, place)].strip(_STOPS)
