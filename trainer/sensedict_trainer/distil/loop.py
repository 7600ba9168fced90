"""A training run: text, a teacher, a dictionary, and at the end a student (DSKD §4)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sensedict.errors import ConfigurationError, InvalidInput
from sensedict.source import SenseSource
from sensedict_trainer.allocator import keep_freed_memory
from sensedict_trainer.distil.activations import FORMAT
from sensedict_trainer.distil.checkpoint import BEST, STUDENT, put_back
from sensedict_trainer.distil.layers import choose_layers
from sensedict_trainer.distil.ranks import Ranks
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.rows import manifest_key
from sensedict_trainer.distil.run import Run
from sensedict_trainer.distil.run_options import HISTORY as HISTORY
from sensedict_trainer.distil.run_options import TrainOptions as TrainOptions
from sensedict_trainer.distil.run_options import TrainResult as TrainResult
from sensedict_trainer.distil.trunk import Trunk
from sensedict_trainer.teacher import Teacher, check_identity
from sensedict_trainer.text import NO_WINDOW, TokenWindow, text_hash
from sensedict_trainer.work import WorkFolder


def train(
    recipe: Recipe,
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    source: SenseSource | None,
    out: Path,
    trunk: Trunk | None = None,
    options: TrainOptions | None = None,
) -> TrainResult:
    """Train a student and write it to `out/student`; a run that was stopped goes on from its last checkpoint.

    Where several processes were started, each has a part of every batch, and the first one writes.

    Args:
        windows: text; the same windows in the same order for runs that are compared.
        source: the dictionary; None for an objective without one.
        trunk: shared by runs over the same text, so that the teacher reads it once.

    Raises:
        Mismatch: the dictionary was built from another teacher; both values are named, nothing was trained.
        InvalidInput: text without a window, without an answer where answers are learned, or longer than the teacher
            reads.
        ConfigurationError: no dictionary for an objective that needs one, or `out` holds another run.
        Unavailable: the dictionary's service stayed away longer than its client is patient; a checkpoint was saved.
        NotFinite: the loss is no number; the last checkpoint is as it was.
    """
    options = options or TrainOptions()
    if teacher.device.type == "cpu":
        keep_freed_memory()
    _check_text(recipe, teacher, windows)
    source = _checked_source(recipe, teacher, source)
    layers = recipe.student_layers(teacher.layers)
    kept = choose_layers(recipe.choice, layers, teacher, windows, options.micro_batch)
    identity = run_identity(recipe, teacher, windows, source, kept) | _stored(options)
    ranks = Ranks(teacher.device)
    with ExitStack() as stack:
        ranks.first(partial(_enter, stack, out, identity, options.fresh))
        run = Run(recipe, teacher, windows, source, out, trunk, options, kept, identity, ranks)
        if not (out / STUDENT).is_dir():
            run.go()
        ranks.wait()  # until the first process has written the student
        return run.result()


def _enter(stack: ExitStack, out: Path, identity: Mapping[str, Any], fresh: bool) -> None:
    stack.enter_context(WorkFolder(out, identity, fresh))
    put_back(out / BEST)


def _check_text(recipe: Recipe, teacher: Teacher, windows: Sequence[TokenWindow]) -> None:
    """Let pass text that can be trained on."""
    if not windows:
        raise InvalidInput(NO_WINDOW)
    longest = max(windows, key=lambda window: len(window.ids))
    most = getattr(teacher.model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(most, int) and 0 < most < len(longest.ids):
        raise InvalidInput(
            f"the window {longest.id} has {len(longest.ids)} tokens, and the teacher {teacher.name!r} reads {most} at "
            f"most: use --set window={most} or less"
        )
    if recipe.loss_on == "answers" and not any(w.answers is not None and w.answers[1:].any() for w in windows):
        raise InvalidInput(
            "loss_on is answers, and no window has an answer: give chats (`messages`, or `prompt` and `answer`), or "
            "use --set loss_on=all"
        )


def _checked_source(recipe: Recipe, teacher: Teacher, source: SenseSource | None) -> SenseSource | None:
    """The dictionary, where the objective has one."""
    if not recipe.uses_dictionary:
        return None
    if source is None:
        raise ConfigurationError(f"the objective {recipe.objective} needs a dictionary: give --dictionary")
    check_identity(teacher, source.identity)
    if recipe.uses_senses and recipe.nearest >= source.identity.k:
        tqdm.write(
            f"p = {recipe.nearest} senses are chosen and a token has at most k = {source.identity.k}: where a "
            "target's own senses are the only candidates, nothing is selected",
            file=sys.stderr,
        )
    return source


def run_identity(
    recipe: Recipe,
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    source: SenseSource | None,
    kept: Sequence[int],
) -> dict[str, Any]:
    """What decides the student, as JSON."""
    return {
        "recipe": recipe.to_json(),
        "layers": list(kept),
        "teacher": teacher.fingerprint,
        "tokenizer": teacher.tokenizer_hash,
        "dtype": teacher.dtype_name,
        "text": text_hash(windows),
        "dictionary": None if source is None else source.identity.content_hash,
        "dictionary version": None if source is None else f"{source.identity.name}@{source.identity.version}",
        "code": version("sensedict"),
    }


def _stored(options: TrainOptions) -> dict[str, Any]:
    """What the student owes to states that are not the teacher's own to the last bit; empty where there are none."""
    named: dict[str, Any] = {}
    if options.activations is not None:
        named["activations"] = FORMAT
    if options.teacher_states is not None:
        named["teacher states"] = manifest_key(options.teacher_states)
    return named
