"""One pass of the teacher for everything that training needs of it: what enters the trained layers, and h_t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sensedict.errors import ConfigurationError
from sensedict_trainer.student import Tail, decoder_layers
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow, pad_windows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TeacherStates:
    """Of some windows, padded on the right.

    Attributes:
        ids: (B, T) int64 tokens; mask: (B, T) int64.
        entering: (B, T, D) states that enter the student's first trained layer.
        hidden: (B, T, D) the teacher's last hidden states h_t.
    """

    ids: Tensor
    mask: Tensor
    entering: Tensor
    hidden: Tensor


class Trunk:
    """The teacher's pass, remembered by window while there is room: epochs and other students then cost nothing.

    Args:
        teacher: whose frozen layers the student shares.
        first_trained: number of the layer whose input is wanted.
        memory: bytes that may be remembered, on the CPU, 2 · D numbers a token.
    """

    def __init__(self, teacher: Teacher, first_trained: int, memory: int = 4 * 2**30) -> None:
        self.teacher = teacher
        self.first_trained = first_trained
        self._room = memory
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def states(self, windows: Sequence[TokenWindow]) -> TeacherStates:
        """States of these windows, from memory where all of them are known."""
        ids, mask = pad_windows(windows, self.teacher.device)
        known = [self._known.get(window.id) for window in windows]
        found = [pair for pair in known if pair is not None]
        if len(found) == len(windows):
            padded = [
                torch.nn.utils.rnn.pad_sequence([pair[i] for pair in found], batch_first=True).to(self.teacher.device)
                for i in (0, 1)
            ]
            return TeacherStates(ids, mask, padded[0], padded[1])
        entering, hidden = self._run(ids, mask)
        for row, window in enumerate(windows):
            self._remember(window.id, entering[row, : len(window.ids)], hidden[row, : len(window.ids)])
        return TeacherStates(ids, mask, entering, hidden)

    @torch.no_grad()
    def check(self, student: PreTrainedModel, tail: Tail, windows: Sequence[TokenWindow]) -> None:
        """Check on real text that the trunk and a student's tail together are the student.

        Raises:
            ConfigurationError: the architecture passes more between its layers than hidden states.
        """
        states = self.states(windows)
        got = tail(states.entering, states.mask)
        whole = student.base_model(input_ids=states.ids, attention_mask=states.mask, use_cache=False).last_hidden_state
        real = states.mask.bool()
        worst = float((got[real].float() - whole[real].float()).abs().max())
        if not worst <= 2e-2 * max(1.0, float(whole[real].float().abs().max())):
            raise ConfigurationError(
                f"{type(self.teacher.model).__name__} cannot share its trunk with a student: run from the middle its "
                f"last layers differ by {worst:.3g}"
            )

    def _run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) states that enter the first trained layer, and last hidden states."""
        seen: list[Tensor] = []

        def look(_module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            seen.append(args[0] if args else kwargs["hidden_states"])

        layer = decoder_layers(self.teacher.model)[self.first_trained]
        hook = layer.register_forward_pre_hook(look, with_kwargs=True)
        try:
            hidden = self.teacher.hidden_states(ids, mask)
        finally:
            hook.remove()
        return seen[0], hidden

    def _remember(self, window_id: str, entering: Tensor, hidden: Tensor) -> None:
        needed = entering.nbytes + hidden.nbytes
        if window_id not in self._known and needed <= self._room:
            self._room -= needed
            # clone: a view would keep the whole padded batch
            self._known[window_id] = (entering.cpu().clone(), hidden.cpu().clone())
