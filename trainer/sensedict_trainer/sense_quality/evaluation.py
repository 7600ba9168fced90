"""All measures of one dictionary, in order: the result as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensedict.errors import ConfigurationError
from sensedict_trainer.sense_quality.book import SenseBook
from sensedict_trainer.sense_quality.data_sets import SIMILARITY_FILES
from sensedict_trainer.sense_quality.disambiguation import NAME as WSD
from sensedict_trainer.sense_quality.disambiguation import evaluate_wsd
from sensedict_trainer.sense_quality.owners import FileSetSpellings, ServiceSpellings
from sensedict_trainer.sense_quality.reading import Coverage, Reading, UseReader
from sensedict_trainer.sense_quality.stability import check_other, evaluate_stability, identity_of
from sensedict_trainer.sense_quality.statistics import Measure
from sensedict_trainer.sense_quality.word_in_context import evaluate_wic, evaluate_wic_tsv
from sensedict_trainer.sense_quality.word_pairs import ANT_SYN, evaluate_ant_syn, evaluate_similarity
from sensedict_trainer.teacher import check_teacher

if TYPE_CHECKING:
    from sensedict.client import SenseClient
    from sensedict.snapshot import Snapshot
    from sensedict.source import Identity
    from sensedict_trainer.teacher import Teacher

DATA_SETS = ("wic", "wic_tsv", WSD, ANT_SYN, *SIMILARITY_FILES)


@dataclass(frozen=True)
class Choices:
    """What is measured.

    Attributes:
        senses: the folder with the archives of the data sets.
        data_sets: some of `DATA_SETS`.
        semcor_sentences: that the teacher reads.
        seed: of every choice and of the bootstrap.
        other: file set of the dictionary that it is compared with, of another seed; None for no such comparison.
    """

    senses: Path
    data_sets: Sequence[str]
    semcor_sentences: int
    seed: int
    other: Path | None = None


@dataclass(frozen=True)
class SenseQuality:
    """What came out.

    Attributes:
        identity: of the dictionary; other: of the one it was compared with.
        settings: what decided the numbers.
        measures: the table; coverage: how many words and uses have senses.
    """

    identity: Identity
    other: Identity | None
    settings: Mapping[str, Any]
    measures: Sequence[Measure]
    coverage: Sequence[Coverage]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "dictionary": asdict(self.identity),
            "other": None if self.other is None else asdict(self.other),
            "settings": dict(self.settings),
            "measures": [measure.to_json() for measure in self.measures],
            "coverage": [coverage.to_json() for coverage in self.coverage],
        }


def evaluate_senses(choices: Choices, teacher: Teacher, source: Snapshot | SenseClient) -> SenseQuality:
    """Measure a dictionary on the chosen data sets, and against another of its seeds.

    Raises:
        Mismatch: the dictionary is another teacher's, or the other one differs in more than the seed.
        ConfigurationError: another dictionary to compare with, and this one asked of a service.
        InvalidInput: an archive or a file in it is missing or damaged; names it.
    """
    identity = source.identity
    check_teacher(teacher, identity)
    folder, spellings = _spellings(source)
    other = None
    if choices.other is not None:
        if folder is None:
            raise ConfigurationError("stability is measured between two file sets: name this one with --snapshot too")
        other = identity_of(choices.other)
        check_other(identity, other)
    book = SenseBook(source, spellings, teacher)
    reader = UseReader(teacher, identity, book)
    measures: list[Measure] = []
    coverage: list[Coverage] = []
    readings: list[Reading] = []
    for name in choices.data_sets:
        found, seen, read = _evaluate(name, choices, reader, book)
        measures += found
        coverage += seen
        readings += read
    if choices.other is not None and folder is not None:
        measures += evaluate_stability(folder, choices.other, readings, book.mean, choices.seed)
    settings = {
        "teacher": teacher.name,
        "dtype": teacher.dtype_name,
        "data_sets": list(choices.data_sets),
        "semcor_sentences": choices.semcor_sentences,
        "seed": choices.seed,
    }
    return SenseQuality(identity, other, settings, measures, coverage)


def _evaluate(
    name: str, choices: Choices, reader: UseReader, book: SenseBook
) -> tuple[list[Measure], list[Coverage], list[Reading]]:
    senses, seed = choices.senses, choices.seed
    with_teacher: Mapping[str, Callable[[], tuple[list[Measure], list[Coverage], list[Reading]]]] = {
        "wic": lambda: evaluate_wic(senses, reader, book, seed),
        "wic_tsv": lambda: evaluate_wic_tsv(senses, reader, book, seed),
        WSD: lambda: evaluate_wsd(senses, reader, book, choices.semcor_sentences, seed),
    }
    if name in with_teacher:
        return with_teacher[name]()
    if name == ANT_SYN:
        return (*evaluate_ant_syn(senses, book, seed), [])
    return (*evaluate_similarity(senses, name, book, seed), [])


def _spellings(source: Snapshot | SenseClient) -> tuple[Path | None, FileSetSpellings | ServiceSpellings]:
    from sensedict.client import SenseClient

    if isinstance(source, SenseClient):
        return None, ServiceSpellings(source)
    return source.folder, FileSetSpellings(source)
