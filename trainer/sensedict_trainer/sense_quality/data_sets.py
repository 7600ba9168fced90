"""The data sets as their authors ship them: pairs of words, pairs of uses, and uses with their WordNet keys."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sensedict.errors import InvalidInput
from sensedict_trainer.sense_quality.archives import read_files

SIMILARITY_FILES: Mapping[str, str] = {
    "simlex": "SimLex999.txt",
    "simverb": "SimVerb-3500.txt",
    "men": "MEN-TR-3k.txt",
    "wordsim": "WS-353-ALL.txt",
}
PARTS_OF_SPEECH = ("adjective", "noun", "verb")  # of synonyms and antonyms


@dataclass(frozen=True)
class Use:
    """A word where it stands in a sentence.

    Attributes:
        words: of the sentence, marks among them.
        place: of the word in `words`; past their end where the data set is wrong.
        lemma: the word as a dictionary lists it.
    """

    words: tuple[str, ...]
    place: int
    lemma: str

    @property
    def form(self) -> str:
        """The word as it stands there; empty where there is none."""
        word = self.words[self.place] if 0 <= self.place < len(self.words) else ""
        return word if any(map(str.isalnum, word)) else ""


@dataclass(frozen=True)
class UsePair:
    """Two uses of a word (WiC): `same` where both have one sense."""

    first: Use
    second: Use
    same: bool


@dataclass(frozen=True)
class TargetUse:
    """A use and hypernyms of one sense of the word (WiC-TSV): `same` where it is used in that sense."""

    use: Use
    hypernyms: tuple[str, ...]
    same: bool


@dataclass(frozen=True)
class WordPair:
    """Two words, and how alike people find them; or 1 for synonyms and 0 for antonyms."""

    first: str
    second: str
    score: float


def load_wic(senses: Path, part: str) -> list[UsePair]:
    """WiC's `train` or `dev` (the part `test` has no labels).

    Raises:
        InvalidInput: an archive or file is missing, or a line has another form; names it.
    """
    name = f"wic/{part}.data.txt"
    data, gold = read_files(senses / "wic.tar.xz", [name, f"wic/{part}.gold.txt"])
    lines, labels = data.splitlines(), gold.split()
    if len(lines) != len(labels):
        raise InvalidInput(f"{name} has {len(lines)} pairs, and {len(labels)} labels in the file beside it")
    pairs = []
    for number, (line, label) in enumerate(zip(lines, labels, strict=True), start=1):
        try:
            lemma, _, places, *texts = line.split("\t")
            first, second = (
                Use(tuple(text.split()), int(place), lemma)
                for text, place in zip(texts, places.split("-"), strict=True)
            )
            pairs.append(UsePair(first, second, {"T": True, "F": False}[label]))
        except (ValueError, KeyError) as error:
            raise InvalidInput(
                f"{name}:{number}: not a word, its part of speech, two places as 0-4, two sentences, with T or F"
            ) from error
    return pairs


def load_wic_tsv(senses: Path, part: str) -> list[TargetUse]:
    """WiC-TSV's `train` or `dev` with hypernyms (every label of the part `test` is a filler).

    A row whose sentence has no word in brackets becomes a use without a place.

    Raises:
        InvalidInput: an archive or file is missing, or a line has another form; names it.
    """
    name = f"wic-tsv/hyp/{part}.tsv"
    (text,) = read_files(senses / "wic-tsv.tar.xz", [name])
    targets = []
    for number, line in enumerate(text.splitlines()[1:], start=2):
        try:
            sentence, hypernyms, label = line.split("\t")
            same = {"T": True, "F": False}[label.strip()]
        except (ValueError, KeyError) as error:
            raise InvalidInput(f"{name}:{number}: not a sentence, hypernyms and T or F, with tabs") from error
        spelt = tuple(hypernym.replace("_", " ") for hypernym in hypernyms.split())
        targets.append(TargetUse(_bracketed(sentence), spelt, same))
    return targets


def _bracketed(sentence: str) -> Use:
    """The use that stands as `[ word ]`; several words in brackets are one word with blanks."""
    before, opening, rest = sentence.partition("[ ")
    inside, closing, after = rest.partition(" ]")
    if not opening or not closing:
        return Use(tuple(sentence.split()), -1, "")
    words = (*before.split(), inside.strip(), *after.split())
    return Use(words, len(before.split()), inside.strip().lower())


def load_similarity(senses: Path, name: str) -> list[WordPair]:
    """SimLex-999, SimVerb-3500, MEN or WordSim-353, by the keys of `SIMILARITY_FILES`.

    Raises:
        InvalidInput: the archive or file is missing, or a line has another form; names it.
    """
    file = f"word-similarity/{SIMILARITY_FILES[name]}"
    (text,) = read_files(senses / "word-similarity.tar.xz", [file])
    return _word_pairs(text, file)


def load_ant_syn(senses: Path, pos: str) -> list[WordPair]:
    """Synonyms (score 1) and antonyms (0) of one of `PARTS_OF_SPEECH`, the part `test` (Nguyen et al. 2017).

    Raises:
        InvalidInput: the archive or file is missing, or a line has another form; names it.
    """
    file = f"ant-syn/{pos}-pairs.test"
    (text,) = read_files(senses / "ant-syn-distinction.tar.xz", [file])
    pairs = _word_pairs(text, file)
    for number, pair in enumerate(pairs, start=1):
        if pair.score not in (0.0, 1.0):
            raise InvalidInput(f"{file}:{number}: the label {pair.score:g} is neither 0 nor 1")
    return [WordPair(pair.first, pair.second, 1.0 - pair.score) for pair in pairs]  # theirs: 1 for antonyms


def _word_pairs(text: str, file: str) -> list[WordPair]:
    pairs = []
    delimiter = "\t" if "\t" in text else " "
    for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter, quoting=csv.QUOTE_NONE), start=1):
        if not row:
            continue
        try:
            first, second, score = row
            pairs.append(WordPair(first.strip(), second.strip(), float(score)))
        except ValueError as error:
            raise InvalidInput(f"{file}:{number}: not two words and a number") from error
    return pairs
