"""A run's record for TensorBoard: what `history.jsonl` has, a curve a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensedict.errors import MissingExtra
from sensedict_trainer.work import flatten

FOLDER = "tensorboard"  # in a run's folder


def check_tensorboard() -> None:
    """Let pass an environment that has TensorBoard.

    Raises:
        MissingExtra: it has not.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"logs for TensorBoard need the package {missing.name!r}: pip install 'sensedict[tensorboard]'"
        ) from missing


class TensorBoard:
    """Event files in a folder, opened after some steps: curves of a run that was stopped and goes on do not fork.

    Raises:
        MissingExtra: the package `tensorboard` is not installed.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        check_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=steps + 1)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a step's values down; of what is nested, `grad_share/sense`."""
        for name, value in flatten(row).items():
            if name != "step" and not isinstance(value, str):
                self._writer.add_scalar(name.replace(".", "/"), value, row["step"])

    def close(self) -> None:
        """Write what is still held."""
        self._writer.close()
