"""A comparison: the same text, dictionary and seeds for every objective, the same held-out text for every model."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sensedict.source import SenseSource
from sensedict_trainer.distil.layers import choose_layers
from sensedict_trainer.distil.loop import TrainOptions, train
from sensedict_trainer.distil.recipe import OBJECTIVES, Recipe
from sensedict_trainer.distil.student import cut_student, to_save
from sensedict_trainer.distil.trunk import trunk_of
from sensedict_trainer.evaluate import evaluate_text
from sensedict_trainer.gguf import ORIGIN
from sensedict_trainer.results import Results, Row, read_json, write_json
from sensedict_trainer.sense_map import build_map
from sensedict_trainer.tasks.registry import score_all
from sensedict_trainer.tasks.task import Task
from sensedict_trainer.teacher import Teacher, check_identity
from sensedict_trainer.text import TokenWindow, check_held_out, text_hash
from sensedict_trainer.work import WorkFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH = 8  # windows a forward pass of an evaluation, unless fewer are asked for
_ROWS = 16  # of a pass over questions, the same


@dataclass(frozen=True)
class Experiment:
    """What is compared, and on what.

    Attributes:
        recipe: of every run, but for objective and seed.
        seeds: each objective is trained once with each.
        training, held_out: windows of text.
        tasks: what to score as well.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    training: Sequence[TokenWindow]
    held_out: Sequence[TokenWindow]
    tasks: Sequence[Task] = ()


def compare(
    experiment: Experiment,
    teacher: Teacher,
    source: SenseSource,
    sources: Sequence[Mapping[str, Any]],
    out: Path,
    options: TrainOptions,
) -> Results:
    """Train every objective with every seed, score everything, and write `out/results.json`.

    What was finished before is used again: runs in `out/runs`, scores in `out/rows`. Seeds, held-out text and tasks may
    be added later.

    Args:
        sources: of the dictionary's relations, with their licences.

    Raises:
        Mismatch: the dictionary is another teacher's; nothing was trained.
        InvalidInput: held-out text that is trained on.
        ConfigurationError: `out` holds another comparison.
    """
    check_identity(teacher, source.identity)
    check_held_out(experiment.held_out, experiment.training)
    with WorkFolder(out, _identity(experiment, teacher, source), options.fresh):
        rows = _rows(experiment, teacher, source, out, options)
    results = Results(
        settings=_settings(experiment, teacher),
        teacher=_describe(teacher),
        dictionary=asdict(source.identity),
        sources=sources,
        rows=rows,
        sense_map=build_map(source, teacher.tokenizer).to_json(),
    )
    results.write(out / "results.json")
    return results


def _rows(experiment: Experiment, teacher: Teacher, source: SenseSource, out: Path, options: TrainOptions) -> list[Row]:
    """The teacher, the untrained student, and a trained one for each seed and objective."""
    scores = _Scores(experiment, teacher, out, options.micro_batch)
    recipe, trainable = experiment.recipe, experiment.recipe.trainable
    layers, at_once = recipe.student_layers(teacher.layers), options.micro_batch
    kept = choose_layers(recipe.choice, layers, teacher, experiment.training, at_once)
    untrained = cut_student(teacher, kept, trainable)
    rows = [
        scores.row("teacher", None, teacher.layers, lambda: teacher.model),
        scores.row("untrained", None, layers, lambda: to_save(untrained, teacher.dtype).to(teacher.device)),
    ]
    trunk = trunk_of(
        teacher, untrained, trainable, experiment.training, options.activations, at_once=at_once, row=recipe.row
    )
    runs = [(seed, objective) for seed in experiment.seeds for objective in OBJECTIVES]
    for number, (seed, objective) in enumerate(runs, start=1):
        changed = replace(recipe, objective=objective, seed=seed)
        run = f"runs/{objective}-seed{seed}"
        named = replace(options, name=f"{objective} seed {seed}, run {number} of {len(runs)}", fresh=False)
        trained = train(changed, teacher, experiment.training, source, out / run, trunk, named)
        row = scores.row(objective, seed, layers, partial(_load, trained.student, teacher))
        rows.append(
            replace(row, trained_tokens=trained.tokens, seconds=trained.seconds, history=f"{run}/history.jsonl")
        )
    return rows


class _Scores:
    """Scores a model once, and remembers it on disk."""

    def __init__(self, experiment: Experiment, teacher: Teacher, out: Path, at_once: int | None) -> None:
        self._experiment = experiment
        self._teacher = teacher
        self._rows = out / "rows" / _evaluation_hash(experiment)
        self._memo: dict[int, Tensor] = {}
        self._windows, self._questions = (min(usual, at_once or usual) for usual in (_BATCH, _ROWS))

    def row(self, objective: str, seed: int | None, layers: int, model: Callable[[], PreTrainedModel]) -> Row:
        """The scores of a model, which `model()` gives when it is needed."""
        name = objective if seed is None else f"{objective}-seed{seed}"
        path = self._rows / f"{name}.json"
        if path.exists():
            return Row.from_json(read_json(path))
        loaded = model()
        start = time.perf_counter()
        text = evaluate_text(loaded, self._teacher, self._experiment.held_out, self._windows, self._memo)
        tokenizer, asked = self._teacher.tokenizer, self._experiment.tasks
        tasks = tuple(score_all(loaded, tokenizer, asked, self._questions, progress=True))
        row = Row(objective, seed, layers, text, tasks, 0, 0.0, time.perf_counter() - start, None)
        write_json(path, row.to_json())
        return row


def _load(folder: Path, teacher: Teacher) -> PreTrainedModel:
    """A student as anyone loads it."""
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=teacher.dtype, use_safetensors=True, trust_remote_code=False
    )
    return model.to(teacher.device).eval()


def _identity(experiment: Experiment, teacher: Teacher, source: SenseSource) -> dict[str, Any]:
    """What decides the students, as JSON."""
    return {
        "recipe": _shared_recipe(experiment.recipe),
        "training text": text_hash(experiment.training),
        "teacher": teacher.fingerprint,
        "dtype": teacher.dtype_name,
        "dictionary": source.identity.content_hash,
    }


def _evaluation_hash(experiment: Experiment) -> str:
    """What decides the scores of a given model, in a few letters."""
    tasks = [[task.name, task.prompts_hash] for task in experiment.tasks]
    content = json.dumps([text_hash(experiment.held_out), tasks])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _shared_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe without what differs between runs."""
    values: dict[str, Any] = {}
    for objective in OBJECTIVES:
        values |= replace(recipe, objective=objective).to_json()
    return {name: value for name, value in values.items() if name not in ("objective", "seed")}


def _settings(experiment: Experiment, teacher: Teacher) -> dict[str, Any]:
    return {
        "recipe": _shared_recipe(experiment.recipe),
        "seeds": list(experiment.seeds),
        "training tokens": sum(len(window.ids) for window in experiment.training),
        "training windows": len(experiment.training),
        "held-out tokens": sum(len(window.ids) for window in experiment.held_out),
        "device": str(teacher.device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "sensedict")},
    }


def _describe(teacher: Teacher) -> dict[str, Any]:
    origin = Path(teacher.name) / ORIGIN
    return {
        "name": teacher.name,
        "architecture": type(teacher.model).__name__,
        "layers": teacher.layers,
        "D": teacher.dim,
        "V": teacher.vocabulary_size,
        "dtype": teacher.dtype_name,
        "weights": teacher.fingerprint,
        "tokenizer": teacher.tokenizer_hash,
        **({"origin": json.loads(origin.read_text("utf-8"))} if origin.is_file() else {}),
    }
