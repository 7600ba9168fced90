"""Peak memory of the head's losses, each form in a process of its own: `python train_memory.py FORM`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from train_steps import TEMPERATURE, plain_loss, trl_loss

from sensedict_trainer.distil.head import Weighted, head_losses
from sensedict_trainer.distil.terms.ce import CrossEntropy
from sensedict_trainer.distil.terms.kl import ForwardKL

POSITIONS, VOCABULARY, DIM = 512, 128_256, 256
FORMS = ("ours", "plain", "trl", "liger")


@dataclass(frozen=True)
class MadeHead:
    """An output head of some weights (V, D)."""

    weight: Tensor
    plain: bool = True

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return len(self.weight)

    def product(self, hidden: Tensor) -> Tensor:
        """(c, V)."""
        return F.linear(hidden, self.weight)

    def shape(self, product: Tensor) -> Tensor:
        """As it is."""
        return product


class Case:
    """Hidden states, two frozen heads, targets; `run` gives value and gradient of CE + T² · KL by a form."""

    def __init__(self, positions: int = POSITIONS, vocabulary: int = VOCABULARY, dim: int = DIM) -> None:
        torch.manual_seed(0)
        self.states = torch.randn(positions, dim)
        self.goals = torch.randn(positions, dim)
        self.targets = torch.randint(vocabulary, (positions,))
        self.heads = MadeHead(torch.randn(vocabulary, dim) * 0.05), MadeHead(torch.randn(vocabulary, dim) * 0.05)

    def run(self, form: str) -> tuple[float, Tensor]:
        """The loss, and its gradient (n, D) at the student's states."""
        states = self.states.clone().requires_grad_()
        loss = getattr(self, f"_{form}")(states)
        loss.backward()
        assert states.grad is not None
        return float(loss.detach()), states.grad

    def _ours(self, states: Tensor) -> Tensor:
        n, kl = len(states), ForwardKL(temperature=TEMPERATURE)
        terms = {"ce": Weighted(CrossEntropy(), 1 / n, n), "kl": Weighted(kl, kl.factor / n, n)}
        return head_losses(states, self.goals, self.targets, *self.heads, terms).total

    def _plain(self, states: Tensor) -> Tensor:
        return plain_loss(self.heads[0].product(states), self.heads[1].product(self.goals), self.targets)

    def _trl(self, states: Tensor) -> Tensor:
        return trl_loss(self.heads[0].product(states), self.heads[1].product(self.goals), self.targets)

    def _liger(self, states: Tensor) -> Tensor:
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

        # Not compiled: a user of a CPU need not have a compiler. It divides logits by T for the KL alone, as we do.
        loss = LigerFusedLinearJSDLoss(1.0, TEMPERATURE**2, 0.0, temperature=TEMPERATURE, compiled=False, chunk_size=64)
        value: Tensor = loss(states, self.heads[0].weight, self.goals, self.heads[1].weight, self.targets)
        return value


def extra_bytes(form: str) -> int:
    """What a form needs beside its input: the highest resident size of a process, less that before the losses."""
    found = subprocess.run([sys.executable, __file__, form], check=True, capture_output=True, text=True)
    return int(found.stdout)


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def main(form: str) -> None:
    """Print the bytes."""
    Case(8, 1000, 16).run(form)  # what is loaded at the first call is not the form's
    case = Case()
    Path("/proc/self/clear_refs").write_text("5")  # the highest size starts anew
    before = _resident("VmRSS")
    case.run(form)
    print(_resident("VmHWM") - before)


if __name__ == "__main__":
    main(sys.argv[1])
