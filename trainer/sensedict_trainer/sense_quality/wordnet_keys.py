"""Uses with WordNet sense keys: SemCor 3.0, and the unified evaluation framework (Raganato et al. 2017)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sensedict.errors import InvalidInput
from sensedict_trainer.sense_quality.archives import read_all, read_files
from sensedict_trainer.sense_quality.data_sets import Use

_FRAMEWORK = "wsd-eval/ALL/ALL"
_POS_OF_TYPE = {"1": "NOUN", "2": "VERB", "3": "ADJ", "4": "ADV", "5": "ADJ"}  # the digit after % of a sense key
_SEMCOR_ITEM = re.compile(r"<(wf|punc)([^>]*)>(.*?)</\1>")
_ATTRIBUTE = re.compile(r"(\w+)=(\S+)")
# brownv has the verbs tagged alone: good for counting verbs' senses, not a text whose words all are tagged
_FOLDERS = ("semcor-3.0/brown1/", "semcor-3.0/brown2/", "semcor-3.0/brownv/")


@dataclass(frozen=True)
class TaggedUse:
    """A use and what it means.

    Attributes:
        use: the word in its sentence.
        entry: lemma and part of speech, `art|NOUN`: what keys are of.
        keys: WordNet 3.0 sense keys that are right, one or more.
    """

    use: Use
    entry: str
    keys: tuple[str, ...]


def load_framework(senses: Path) -> list[TaggedUse]:
    """All instances of the five test sets, 7,253 in the authors' files.

    Raises:
        InvalidInput: the archive or a file is missing, is no XML, or an instance has no key; names it.
    """
    names = [f"{_FRAMEWORK}.data.xml", f"{_FRAMEWORK}.gold.key.txt"]
    data, gold = read_files(senses / "wsd-eval-framework.tar.xz", names)
    keys = {line.split()[0]: tuple(line.split()[1:]) for line in gold.splitlines() if line.strip()}
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise InvalidInput(f"{names[0]} is no XML: {error}") from error
    found = []
    for sentence in root.iter("sentence"):
        words = tuple((item.text or "").strip() for item in sentence)
        for place, item in enumerate(sentence):
            if item.tag != "instance":
                continue
            id, lemma, pos = (item.get(name, "") for name in ("id", "lemma", "pos"))
            if not keys.get(id):
                raise InvalidInput(f"{names[1]} has no key of the instance {id or place!r} in {names[0]}")
            lemma = lemma.lower()
            found.append(TaggedUse(Use(words, place, lemma.replace("_", " ")), f"{lemma}|{pos}", keys[id]))
    return found


@dataclass(frozen=True)
class SemCor:
    """Tagged sentences.

    Attributes:
        whole: sentences all of whose words are tagged; a list of their uses each, which may be empty.
        verbs: those of the part in which verbs alone are.
    """

    whole: list[list[TaggedUse]]
    verbs: list[list[TaggedUse]]


def load_semcor(senses: Path) -> SemCor:
    """SemCor's uses whose key is known; names of people, groups and places are left out.

    Raises:
        InvalidInput: the archive is missing, damaged, or holds no tagged sentence; names it.
    """
    archive = senses / "semcor-3.0.tar.xz"
    texts = read_all(archive, lambda name: name.startswith(_FOLDERS) and "/tagfiles/" in name)
    found = SemCor([], [])
    for name, text in texts.items():
        (found.verbs if name.startswith(_FOLDERS[2]) else found.whole).extend(_sentences(text))
    if not any(found.whole):
        raise InvalidInput(f"{archive} holds no tagged sentence in {_FOLDERS[0]}tagfiles or {_FOLDERS[1]}tagfiles")
    return found


def _sentences(text: str) -> Iterator[list[TaggedUse]]:
    for part in text.split("<s ")[1:]:
        items = [(dict(_ATTRIBUTE.findall(match[2])), match[3]) for match in _SEMCOR_ITEM.finditer(part)]
        words = tuple(word.replace("_", " ") for _, word in items)
        uses = []
        for place, (told, _) in enumerate(items):
            lemma, senses = told.get("lemma", "").lower(), told.get("lexsn", "")
            pos = _POS_OF_TYPE.get(senses[:1])
            # wnsn=0: the sense was lost when WordNet changed
            if pos and lemma and "pn" not in told and told.get("wnsn") != "0":
                keys = tuple(f"{lemma}%{sense}" for sense in senses.split(";"))
                uses.append(TaggedUse(Use(words, place, lemma.replace("_", " ")), f"{lemma}|{pos}", keys))
        yield uses
