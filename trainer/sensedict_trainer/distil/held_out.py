"""The loss on held-out text while a run is on, by which its best step is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sensedict_trainer.distil.checkpoint import BEST, NOTE
from sensedict_trainer.distil.head import Weighted, head_losses
from sensedict_trainer.distil.packing import passes
from sensedict_trainer.distil.ranks import Ranks
from sensedict_trainer.distil.student import Tail
from sensedict_trainer.distil.terms.ce import CrossEntropy
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.distil.terms.term import HeadTerm
from sensedict_trainer.distil.trunk import Trunk
from sensedict_trainer.teacher import FrozenHead
from sensedict_trainer.text import TokenWindow, text_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TERMS: dict[str, HeadTerm] = {"ce": CrossEntropy(), "kl": ForwardKL(temperature=1.0)}
_BATCH = 8  # windows a pass, unless fewer are asked for


class HeldOut:
    """Text that is not trained on.

    Args:
        windows: of it.
        trunk: gives their states.
        head_of: the model whose frozen head the student has.
        at_once: most windows of a pass.

    Attributes:
        text: its hash: losses on another text are not compared with these.
    """

    def __init__(
        self,
        windows: Sequence[TokenWindow],
        trunk: Trunk,
        head_of: PreTrainedModel,
        ranks: Ranks,
        at_once: int | None = None,
    ) -> None:
        self.text = text_hash(windows)
        ordered = sorted(windows, key=lambda window: -len(window.ids))
        # Layers in parts take every process at each pass.
        own = ordered if ranks.sharded else ranks.share(ordered)
        self._passes = passes(own, min(_BATCH, at_once or _BATCH), trunk.row)
        self._trunk, self._head, self._ranks = trunk, FrozenHead(head_of), ranks

    def losses(self, tail: Tail) -> dict[str, float]:
        """Cross-entropy of the text, and KL from the teacher at T = 1; nats, means over all positions.

        Args:
            tail: the student's, of this process alone.
        """
        sums = dict.fromkeys(("positions", *_TERMS), 0.0)
        for windows in self._passes:
            states = self._trunk.states(windows)
            with torch.no_grad(), self._trunk.teacher.mixed():
                hidden = tail(states.entering, states.mask, states.layout.positions)
            real = states.layout.has_target
            own, goal = hidden[:, :-1][real], states.hidden[:, :-1][real]
            weighted = {name: Weighted(term, 1.0, 1) for name, term in _TERMS.items()}
            found = head_losses(own, goal, states.ids[:, 1:][real], self._head, states.head, weighted)
            for name, value in {**found.values, "positions": len(own)}.items():
                sums[name] += value
        sums = dict(zip(sums, self._ranks.sums([*sums.values()]), strict=True))
        positions = max(sums.pop("positions"), 1.0)
        return {name: value / positions for name, value in sums.items()}


def best_so_far(out: Path, steps: int, text: str) -> float:
    """The lowest held-out cross-entropy of the first steps, as the best student in the folder has it; else infinite.

    Args:
        text: hash of the held-out text: where it was another, nothing is known.
    """
    try:
        note = json.loads((out / BEST / NOTE).read_text("utf-8"))
        known = note["step"] <= steps and note["held_out text"] == text
        return float(note["held_out"]["ce"]) if known else math.inf
    except (OSError, ValueError, KeyError):
        return math.inf
