"""Checkpoints of a run in progress, and the student that it ends with; safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from sensedict.errors import Corrupt, Mismatch, reason
from sensedict_trainer.distil.card import model_card
from sensedict_trainer.distil.ranks import Ranks, split_as, whole
from sensedict_trainer.distil.student import to_save
from sensedict_trainer.work import differences, readable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sensedict_trainer.teacher import Teacher

STUDENT = "student"
BEST = "best"  # the student at the step where it did best on held-out text
NOTE = "sensedict-run.json"  # how a student was made, beside its weights
_PREFIX = "checkpoint-"
_SCRATCH = f".{_PREFIX}tmp"


@dataclass(frozen=True)
class Trained:
    """What a run changes.

    Attributes:
        student: the weights that have a gradient.
        optimizer: AdamW's moments; scaler: of float16's gradients.
    """

    student: PreTrainedModel
    optimizer: torch.optim.Optimizer
    scaler: GradScaler


class Checkpoints:
    """The checkpoints in a run's folder.

    Args:
        identity: what decides the student: a checkpoint carries it, and one of another is refused.
        keep: so many of the last are kept.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], keep: int, ranks: Ranks) -> None:
        self._out, self._identity, self._keep, self._ranks = out, identity, keep, ranks

    def save(self, step: int, seconds: float, trained: Trained) -> None:
        """Write `out/checkpoint-STEP`, whole and on the disk or not at all, then remove what is older than is kept.

        The first process writes; where layers are in parts, all must ask for it.
        """
        if not self._ranks.main and not self._ranks.sharded:
            return
        weights = {name: whole(weight) for name, weight in _weights(trained.student).items()}
        moments = {name: whole(moment) for name, moment in _moments(trained.optimizer).items()}
        folder = self._out / f"{_PREFIX}{step:08d}"
        if not self._ranks.main or folder.is_dir():
            return
        scratch = self._out / _SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        save_file(weights, scratch / "trained.safetensors")
        save_file(moments, scratch / "optimizer.safetensors")
        state = {"step": step, "seconds": seconds, "identity": self._identity, "scaler": trained.scaler.state_dict()}
        (scratch / "state.json").write_text(json.dumps(state, indent=1))
        _rename(scratch, folder)
        for older in self._all()[: -self._keep]:
            shutil.rmtree(older)

    def restore(self, trained: Trained) -> tuple[int, float]:
        """Put the newest checkpoint into a student and its optimizer; gives steps done and seconds spent, 0 for none.

        Raises:
            Mismatch: it is of another run; names what differs, with both values.
            Corrupt: its files are damaged.
        """
        found = self._all()
        if not found:
            return 0, 0.0
        folder = found[-1]
        try:
            state = json.loads((folder / "state.json").read_text())
            if differing := differences(state["identity"], self._identity):
                raise Mismatch(f"{folder} is of another run ({differing}): remove it, or use --fresh")
            weights = load_file(folder / "trained.safetensors")
            own = _weights(trained.student)
            if weights.keys() != own.keys():
                raise Corrupt(f"{folder} is of another student: remove it, or use --fresh")
            with torch.no_grad():
                for name, weight in own.items():
                    weight.copy_(split_as(weights[name], weight))
            _restore_moments(trained.optimizer, load_file(folder / "optimizer.safetensors"))
            trained.scaler.load_state_dict(state["scaler"])
            return int(state["step"]), float(state["seconds"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise Corrupt(f"{folder} is damaged ({reason(error)}): remove it, and the run starts anew") from error

    def drop(self) -> None:
        """Remove them all, and what a kill left of one: the run is over."""
        for folder in self._all():
            shutil.rmtree(folder)
        shutil.rmtree(self._out / _SCRATCH, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(path for path in self._out.glob(f"{_PREFIX}*") if path.is_dir())


def save_student(
    folder: Path, student: PreTrainedModel, teacher: Teacher, note: Mapping[str, Any], ranks: Ranks
) -> None:
    """Write a plain model folder with tokenizer that `transformers` loads, in the place of one that is there.

    The first process writes; where layers are in parts, all must ask for it.

    Args:
        note: how it was made.
    """
    plain = _gathered(student, teacher.dtype) if ranks.sharded else student
    if not ranks.main:
        return
    scratch, old = folder.with_name(f".{folder.name}.tmp"), _old(folder)
    shutil.rmtree(scratch, ignore_errors=True)
    to_save(plain, teacher.dtype).save_pretrained(scratch)
    teacher.tokenizer.save_pretrained(scratch)
    (scratch / NOTE).write_text(json.dumps(dict(note), indent=1))
    (scratch / "README.md").write_text(model_card(note), encoding="utf-8")
    readable(scratch)
    _sync_all(scratch)  # before the one that is there goes, so that there is one but for a moment
    shutil.rmtree(old, ignore_errors=True)
    if folder.is_dir():
        folder.rename(old)
    _rename(scratch, folder)
    shutil.rmtree(old, ignore_errors=True)


def put_back(folder: Path) -> None:
    """Give a student its name again, where a kill came in the moment in which another was to take its place."""
    if _old(folder).is_dir() and not folder.is_dir():
        _old(folder).rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _gathered(student: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A student whose layers are in parts, whole and on the CPU."""
    from transformers import AutoModelForCausalLM

    weights = {name: whole(weight).cpu() for name, weight in student.state_dict().items()}
    plain: PreTrainedModel = AutoModelForCausalLM.from_config(student.config, dtype=dtype, trust_remote_code=False)
    plain.load_state_dict(weights, strict=True)
    plain.generation_config = student.generation_config
    return plain


def _rename(scratch: Path, folder: Path) -> None:
    """Give a folder its name when all of it is on the disk: a machine that stops leaves it whole or not at all."""
    _sync_all(scratch)
    scratch.rename(folder)
    _sync(folder.parent)


def _sync_all(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _weights(student: PreTrainedModel) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in student.named_parameters() if weight.requires_grad}


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value) for number, values in state.items() for name, value in values.items()
    }


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        # AdamW keeps its count of steps on the CPU.
        value = tensor if name == "step" else split_as(tensor, weights[int(number)])
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
