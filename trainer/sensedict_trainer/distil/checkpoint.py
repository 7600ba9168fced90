"""Checkpoints of a run in progress, and the student that it ends with; safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensedict.errors import Corrupt
from sensedict_trainer.distil.card import model_card
from sensedict_trainer.distil.student import to_save
from sensedict_trainer.work import readable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sensedict_trainer.teacher import Teacher

STUDENT = "student"
_PREFIX = "checkpoint-"


def save_checkpoint(
    out: Path, step: int, seconds: float, student: PreTrainedModel, optimizer: torch.optim.Optimizer
) -> None:
    """Write `out/checkpoint-STEP`, whole or not at all, then remove older ones."""
    scratch = out / f".{_PREFIX}{step:08d}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    save_file(_trained(student), scratch / "trained.safetensors")
    save_file(_optimizer_tensors(optimizer), scratch / "optimizer.safetensors")
    (scratch / "state.json").write_text(json.dumps({"step": step, "seconds": seconds}))
    folder = out / f"{_PREFIX}{step:08d}"
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    for older in _checkpoints(out)[:-1]:
        shutil.rmtree(older)


def restore_checkpoint(out: Path, student: PreTrainedModel, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Put the newest checkpoint of a run into student and optimizer; gives steps done and seconds spent, 0 for none.

    Raises:
        Corrupt: its files are damaged or another run's.
    """
    found = _checkpoints(out)
    if not found:
        return 0, 0.0
    folder = found[-1]
    try:
        state = json.loads((folder / "state.json").read_text())
        trained = load_file(folder / "trained.safetensors")
        moments = load_file(folder / "optimizer.safetensors")
        own = _trained(student)
        if trained.keys() != own.keys():
            raise Corrupt(f"{folder} is of another student: remove it, or use --fresh")
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(trained[name])
        _restore_optimizer(optimizer, moments, device=next(iter(own.values())).device)
        return int(state["step"]), float(state["seconds"])
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise Corrupt(f"{folder} is damaged ({error}): remove it, and the run starts anew") from error


def save_student(out: Path, student: PreTrainedModel, teacher: Teacher, note: Mapping[str, Any]) -> Path:
    """Write `out/student`: a plain model folder with tokenizer that `transformers` loads; then drop the checkpoints.

    Args:
        note: how it was made, for `sensedict-run.json` beside the weights.
    """
    folder, scratch = out / STUDENT, out / f".{STUDENT}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    to_save(student, teacher.dtype).save_pretrained(scratch)
    teacher.tokenizer.save_pretrained(scratch)
    (scratch / "sensedict-run.json").write_text(json.dumps(dict(note), indent=1))
    (scratch / "README.md").write_text(model_card(note), encoding="utf-8")
    readable(scratch)
    scratch.rename(folder)
    for checkpoint in _checkpoints(out):
        shutil.rmtree(checkpoint)
    return folder


def _checkpoints(out: Path) -> list[Path]:
    return sorted(path for path in out.glob(f"{_PREFIX}*") if path.is_dir())


def _trained(student: PreTrainedModel) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in student.named_parameters() if weight.requires_grad}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value) for number, values in state.items() for name, value in values.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], device: torch.device) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        # AdamW keeps its count of steps on the CPU.
        state.setdefault(int(number), {})[name] = tensor if name == "step" else tensor.to(device)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
