"""What a comparison found, as it lies on disk between training and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sensedict.errors import Corrupt, InvalidInput, reason
from sensedict.paths import write_whole
from sensedict_trainer.evaluate import TextScores
from sensedict_trainer.tasks.task import TaskScore

FORMAT = 1

# Every row a comparison has, in the order of the report.
NAMES: Mapping[str, str] = {
    "teacher": "Teacher",
    "untrained": "Untrained layer-cut student",
    "kd": "KD",
    "dskd": "DSKD",
    "kd+mse": "KD + hidden MSE (control)",
}


@dataclass(frozen=True)
class Row:
    """One model and its scores.

    Attributes:
        objective: key of `NAMES`.
        seed: of the training run; None for what was not trained.
        layers: transformer layers of the model.
        text: scores on the held-out text.
        tasks: scores of the tasks, one a form.
        trained_tokens: tokens that passed through training, epochs counted.
        seconds: of training.
        evaluation_seconds: of scoring.
        history: path of `history.jsonl`, relative to the folder of the results; None for what was not trained.
    """

    objective: str
    seed: int | None
    layers: int
    text: TextScores
    tasks: tuple[TaskScore, ...]
    trained_tokens: int
    seconds: float
    evaluation_seconds: float
    history: str | None

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**plain, "text": self.text.to_json(), "tasks": [asdict(score) for score in self.tasks]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Row:
        """The row that `to_json` wrote."""
        tasks = tuple(TaskScore(**{**score, "right": tuple(score["right"])}) for score in value["tasks"])
        return cls(**{**value, "text": TextScores.from_json(value["text"]), "tasks": tasks})


@dataclass(frozen=True)
class Results:
    """A whole comparison.

    Attributes:
        settings: what decided the numbers, by dotted name.
        teacher: name, hashes, dtype and origin of the teacher's weights, by name.
        dictionary: the dictionary's identity, by name.
        sources: name, version, licence and relations of each source of the lexicon.
        rows: one a model and seed.
        sense_map: `SenseMap.to_json()`.
    """

    settings: Mapping[str, Any]
    teacher: Mapping[str, Any]
    dictionary: Mapping[str, Any]
    sources: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]
    sense_map: Sequence[Mapping[str, Any]]

    def of(self, objective: str) -> list[Row]:
        """Rows of an objective, by rising seed."""
        return sorted((row for row in self.rows if row.objective == objective), key=lambda row: row.seed or 0)

    def write(self, path: Path) -> None:
        """Write as JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        write_json(path, {"format": FORMAT, **plain, "rows": [row.to_json() for row in self.rows]})

    @classmethod
    def read(cls, path: Path) -> Results:
        """The results that `write` wrote. Raises `Corrupt` when the file is not that."""
        value = read_json(path)
        try:
            if value.pop("format") != FORMAT:
                raise Corrupt(f"{path} has another format than {FORMAT}: make it again with this version")
            return cls(**{**value, "rows": [Row.from_json(row) for row in value["rows"]]})
        except (KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"{path} does not hold the results of a comparison: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_whole(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; a NaN is refused, it is not JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises `InvalidInput` when it is absent or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {reason(error)}") from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file. Raises `InvalidInput` naming the line that is none."""
    rows = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise InvalidInput(f"{path}:{number}: not a JSON object")
            rows.append(row)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path}:{number}: not JSON: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {reason(error)}") from error
    return rows
