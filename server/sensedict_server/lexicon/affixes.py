"""Which affixes negate, and which words only look negated: tables that a linguist can read and extend (DSKD §3.2).

`affixes.tsv` is the shipped table; its columns are described in `docs/negation.md`. Beside it lie `lookalikes.tsv`,
words whose affix says nothing of their base (`invaluable`), and `denying.tsv`, words whose un- or dis- denies where it
would undo before another verb (`distrust`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sensedict.errors import InvalidInput, reason

_HERE = Path(__file__).parent
SHIPPED = _HERE / "affixes.tsv"
_POSITIONS = ("prefix", "suffix", "root")
_BEFORE_VERB = ("negates", "reverses")
_BASES = ("same", "other")
_COLUMNS = ("position", "morpheme", "label", "spellings", "before_verb", "base", "instead")
_MAY_BE_EMPTY = frozenset({"instead"})
_NO_MORPHEME = frozenset("<>(){} ")
_NO_LABEL = frozenset(",+: ")  # they part the labels of a rule


@dataclass(frozen=True)
class Affix:
    """A negating affix.

    Attributes:
        position: prefix; suffix, at the very end of a word; or root, a last root that does a suffix's work (`icefree`).
        morpheme: as MorphoLEX writes it.
        label: as a rule names it.
        spellings: as words have it, the first that fits is cut off.
        reverses: whether it undoes the verb that it stands before.
        changes_pos: whether the base is of another part of speech: fault, of faultless.
        instead: endings that make an opposite in its place, where there is such a word: careful, of careless.
    """

    position: str
    morpheme: str
    label: str
    spellings: tuple[str, ...]
    reverses: bool = False
    changes_pos: bool = False
    instead: tuple[str, ...] = ()


@dataclass(frozen=True)
class AffixTable:
    """Affixes by position and morpheme, and what is excepted from them.

    Attributes:
        lookalikes: words that negate nothing, whatever their affixes; for inflected forms the lemma stands here.
        denying: words whose affix denies, though it stands before a verb; lemmas too.
        replaces_originals: whether a derived relation takes the place of its parent (preset `release`).
    """

    affixes: Mapping[tuple[str, str], Affix]
    lookalikes: frozenset[str] = frozenset()
    denying: frozenset[str] = frozenset()
    replaces_originals: bool = False

    def find(self, position: str, morpheme: str) -> Affix | None:
        """The affix, if it is one of the table's."""
        return self.affixes.get((position, morpheme))


@cache
def shipped_affixes(preset: str = "default") -> AffixTable:
    """The table that comes with the package.

    `release` is for comparing counts with the paper only: more affixes than are right, no reversal, no lookalikes,
    synonyms across parts of speech, and derived relations in place of the originals.

    Raises:
        InvalidInput: no such preset.
    """
    if preset == "default":
        return read_affixes(SHIPPED)
    if preset == "release":
        return AffixTable(_affixes(_HERE / "affixes-release.tsv"), replaces_originals=True)
    raise InvalidInput(f"affixes {preset!r}: the presets are default and release; a table of your own is a file")


def read_affixes(path: Path) -> AffixTable:
    """A table that stands in place of the shipped one; the lookalikes and the denying words stay.

    Raises:
        InvalidInput: it cannot be read, or a line is not as `docs/negation.md` says; names file and line.
    """
    return own_affixes(_affixes(path).values())


def own_affixes(affixes: Iterable[Affix]) -> AffixTable:
    """A table of these, in place of the shipped ones; the lookalikes and the denying words stay."""
    table = {(affix.position, affix.morpheme): affix for affix in affixes}
    return AffixTable(table, shipped_lookalikes(), frozenset(shipped_denying()))


@cache
def shipped_lookalikes() -> frozenset[str]:
    """Words that look negated and are not the opposite of what is left without the affix."""
    return frozenset(row["word"] for _, row in read_table(_HERE / "lookalikes.tsv", ("word",)))


@cache
def shipped_denying() -> dict[str, str]:
    """Words whose un- or dis- denies, to `verb` or `noun`."""
    rows = read_table(_HERE / "denying.tsv", ("word", "pos"))
    return {row["word"]: row["pos"] for _, row in rows}


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column) of each row of a file of tab-separated columns.

    The first row names the columns, in any order; a column beside those asked for is a note for people. Blank lines and
    lines that begin with # are passed over.

    Raises:
        InvalidInput: it cannot be read, lacks a column, or a row has another number of cells; names file and line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read as UTF-8 text: {reason(error)}") from error
    header: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if header is None:
            header = cells
            missing = [column for column in columns if column not in header]
            if missing or len(set(header)) < len(header):
                raise _broken(path, number, f"expected a header with the columns {', '.join(columns)}, got {cells}")
            continue
        cells += [""] * (len(header) - len(cells))  # editors drop empty cells at the end
        if len(cells) > len(header):
            raise _broken(path, number, f"expected {len(header)} cells parted by tabs, got {len(cells)}")
        row = dict(zip(header, cells, strict=True))
        empty = [column for column in columns if not row[column] and column not in _MAY_BE_EMPTY]
        if empty:
            raise _broken(path, number, f"nothing stands under {', '.join(empty)}")
        yield number, row
    if header is None:
        raise InvalidInput(f"{path}: empty; expected a header with the columns {', '.join(columns)}")


def _affixes(path: Path) -> dict[tuple[str, str], Affix]:
    affixes: dict[tuple[str, str], Affix] = {}
    lines: dict[tuple[str, str] | str, int] = {}
    for number, row in read_table(path, _COLUMNS):
        affix = _affix(path, number, row)
        for key, what in (((affix.position, affix.morpheme), "this morpheme"), (affix.label, f"label {affix.label!r}")):
            if key in lines:
                raise _broken(path, number, f"{what} stands on line {lines[key]} already: merge the two lines")
            lines[key] = number
        affixes[affix.position, affix.morpheme] = affix
    if not affixes:
        raise InvalidInput(f"{path}: no affix in it; leave deriving out instead")
    return affixes


def _affix(path: Path, number: int, row: Mapping[str, str]) -> Affix:
    position, morpheme, label = row["position"], row["morpheme"], row["label"]
    for column, known in (("position", _POSITIONS), ("before_verb", _BEFORE_VERB), ("base", _BASES)):
        if row[column] not in known:
            raise _broken(path, number, f"{column} {row[column]!r}: write one of {', '.join(known)}")
    if _NO_MORPHEME & set(morpheme):
        raise _broken(path, number, f"morpheme {morpheme!r}: write it without blanks and brackets, as `un`")
    if _NO_LABEL & set(label):
        raise _broken(
            path, number, f"label {label!r}: write it without blanks, commas, colons and plus signs, as `un-`"
        )
    reverses = row["before_verb"] == "reverses"
    if reverses and position != "prefix":
        raise _broken(path, number, f"only a prefix stands before a verb: write negates for {label}")
    spellings, instead = tuple(row["spellings"].split()), tuple(row["instead"].split())
    if instead and position == "prefix":
        raise _broken(path, number, f"only an ending has another instead of it: leave instead empty for {label}")
    for text in (*spellings, *instead):
        if text != text.lower() or not text.replace("-", "").isalpha():
            raise _broken(path, number, f"spelling {text!r}: write small letters and hyphens, blanks between spellings")
    return Affix(position, morpheme, label, spellings, reverses, row["base"] == "other", instead)


def _broken(path: Path, number: int, why: str) -> InvalidInput:
    return InvalidInput(f"{path}, line {number}: {why}")
