"""One pass of the teacher for everything that training needs of it: what enters the trained layers, and h_t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sensedict.errors import ConfigurationError
from sensedict_trainer.distil.student import Tail, decoder_layers
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


# Windows a pass: of like length, so that little is padding, and the same ones in every run.
_GROUP = 8


class Trunk:
    """The teacher's pass over some text, remembered while there is room: epochs and other students then cost nothing.

    What is remembered, and with which others a window passes, depends on the text alone: a run that was stopped and
    goes on finds the same states to the last bit.

    Args:
        teacher: whose frozen layers the student shares.
        first_trained: number of the layer whose input is wanted.
        windows: all that will be asked for.
        memory: bytes that may be remembered, on the CPU; a token takes 2 · D numbers.
    """

    def __init__(
        self, teacher: Teacher, first_trained: int, windows: Sequence[TokenWindow], memory: int = 4 * 2**30
    ) -> None:
        self.teacher = teacher
        self.first_trained = first_trained
        self._group: dict[str, list[TokenWindow]] = {}
        self._known: dict[str, tuple[Tensor, Tensor]] = {}
        ordered = sorted(windows, key=lambda window: (-len(window.ids), window.id))
        for start in range(0, len(ordered), _GROUP):
            group = ordered[start : start + _GROUP]
            memory -= sum(len(window.ids) for window in group) * 2 * teacher.dim * teacher.dtype.itemsize
            if memory < 0:
                break
            self._group.update({window.id: group for window in group})

    @torch.no_grad()
    def states(self, windows: Sequence[TokenWindow]) -> TeacherStates:
        """States of these windows, from memory where they are known."""
        ids, mask = pad_windows(windows, self.teacher.device)
        once = [window for window in windows if window.id not in self._group]
        found = dict(zip([window.id for window in once], self._run(once) if once else [], strict=True))
        for window in windows:
            if window.id not in found:
                if window.id not in self._known:
                    group = self._group[window.id]
                    for member, (entering, hidden) in zip(group, self._run(group), strict=True):
                        # clone: a view would keep the whole padded batch
                        self._known[member.id] = (entering.cpu().clone(), hidden.cpu().clone())
                found[window.id] = self._known[window.id]
        entering, hidden = (
            torch.nn.utils.rnn.pad_sequence([found[window.id][i] for window in windows], batch_first=True)
            for i in (0, 1)
        )
        return TeacherStates(ids, mask, entering.to(self.teacher.device), hidden.to(self.teacher.device))

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

    def _run(self, windows: Sequence[TokenWindow]) -> list[tuple[Tensor, Tensor]]:
        """Of each window, (T, D) states that enter the first trained layer, and (T, D) last hidden states."""
        seen: list[Tensor] = []

        def look(_module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            seen.append(args[0] if args else kwargs["hidden_states"])

        layer = decoder_layers(self.teacher.model)[self.first_trained]
        hook = layer.register_forward_pre_hook(look, with_kwargs=True)
        try:
            hidden = self.teacher.hidden_states(*pad_windows(windows, self.teacher.device))
        finally:
            hook.remove()
        lengths = [len(window.ids) for window in windows]
        return [(seen[0][row, :length], hidden[row, :length]) for row, length in enumerate(lengths)]
