"""One pass of the teacher for everything that training needs of it: what enters the trained layers, and h_t."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sensedict.errors import ConfigurationError, NotFinite
from sensedict_trainer.distil.activations import Activations, States, weights_key
from sensedict_trainer.distil.head import Head
from sensedict_trainer.distil.packing import Layout, check_packing, lay_out, passes
from sensedict_trainer.distil.rows import ROW, groups
from sensedict_trainer.distil.student import Tail, decoder_layers
from sensedict_trainer.teacher import FrozenHead, Teacher
from sensedict_trainer.text import TokenWindow

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TeacherStates:
    """Of some windows, in rows padded on the right.

    Attributes:
        layout: their tokens, and where they lie.
        entering: (B, T, D) states that enter the student's first trained layer.
        hidden: (B, T, D) the teacher's last hidden states h_t; or (B, T, ·) what stands for them, see `Known`.
        head: makes the teacher's logits of `hidden`.
    """

    layout: Layout
    entering: Tensor
    hidden: Tensor
    head: Head

    @property
    def ids(self) -> Tensor:
        """(B, T) int64 tokens."""
        return self.layout.ids

    @property
    def mask(self) -> Tensor:
        """(B, T) int64, 1 where a token is real."""
        return self.layout.mask


class Known(Protocol):
    """Something that stands for the teacher's last hidden states, so that it need not run after the trunk."""

    @property
    def head(self) -> Head:
        """Makes the teacher's logits of what `of` gives."""
        ...

    def of(self, window: TokenWindow) -> Tensor:
        """(T, ·) of a window, on the device."""
        ...


@dataclass(frozen=True)
class NoTeacher:
    """In place of the teacher's states where no term of the objective reads them."""

    teacher: Teacher

    @property
    def head(self) -> Head:
        """A head that is not asked."""
        return FrozenHead(self.teacher.model)

    def of(self, window: TokenWindow) -> Tensor:
        """(T, 0)."""
        return torch.zeros((len(window.ids), 0), dtype=self.teacher.dtype, device=self.teacher.device)


class Trunk:
    """The teacher's pass over some text, remembered: epochs and other students then cost nothing.

    It is remembered in memory, as it is, while there is room; or in a folder, see `activations`. What is remembered,
    and with which others a window passes, depends on the text and `at_once` alone: a run that was stopped and goes on
    finds the same states to the last bit.

    Args:
        teacher: whose frozen layers the student shares.
        first_trained: number of the layer whose input is wanted.
        windows: all that will be asked for.
        memory: bytes that may be remembered, on the CPU; a token takes 2 · D numbers.
        folder: of the cache on disk; it is built now where it is missing.
        student: one whose frozen layers are not the teacher's, and run apart.
        known: stands for the teacher's last hidden states: the teacher then runs no further than the trunk.
        at_once: most rows of a pass; None for all that are asked for together.
        row: tokens of a row that several windows may share, see `packing`; None for a row each.

    Raises:
        ConfigurationError: the folder holds other activations, or has no room for them; or windows are to share rows,
            and the teacher does not keep them apart.
        Corrupt: a file in it is damaged.
    """

    def __init__(
        self,
        teacher: Teacher,
        first_trained: int,
        windows: Sequence[TokenWindow],
        memory: int = 4 * 2**30,
        folder: Path | None = None,
        student: PreTrainedModel | None = None,
        known: Known | None = None,
        at_once: int | None = None,
        row: int | None = None,
    ) -> None:
        self.teacher = teacher
        self.first_trained = first_trained
        self.student, self.known, self.at_once, self.row = student, known, at_once, row
        if row is not None:
            check_packing(teacher.backbone, windows, row, teacher.device)
        self._group: dict[str, list[TokenWindow]] = {}
        self._remembered: dict[str, States] = {}
        parts = 2 if known is None else 1
        self._stored = None
        if folder is not None:
            self._stored = Activations.build(folder, teacher, self._key(), windows, self._run, parts)
            return
        for group in groups(windows, row):
            memory -= sum(len(window.ids) for window in group) * parts * teacher.dim * teacher.dtype.itemsize
            if memory < 0:
                break
            self._group.update({window.id: group for window in group})

    def remember(self) -> None:
        """Make now all that is going to be remembered, so that no run's time has it in it."""
        together = {id(group): group for group in self._group.values()}
        with tqdm(total=len(self._group), desc="frozen layers", unit=" windows", disable=None, leave=False) as bar:
            for group in together.values():
                self._found(group)
                bar.update(len(group))

    def states(self, windows: Sequence[TokenWindow]) -> TeacherStates:
        """States of these windows, from memory or the cache where they are known."""
        return self._padded(windows, self._found(windows))

    @torch.no_grad()
    def check(self, student: PreTrainedModel, tail: Tail, windows: Sequence[TokenWindow]) -> None:
        """Check on real text that the trunk and a student's tail together are the student.

        Raises:
            ConfigurationError: the architecture passes more between its layers than hidden states.
            NotFinite: states are too large for the dtype.
        """
        states = self._padded(windows, self._run(windows))
        given = states.layout.seen()
        with self.teacher.mixed():
            got = tail(states.entering, states.mask, states.layout.positions)
            whole = student.base_model(input_ids=states.ids, use_cache=False, **given).last_hidden_state
        real = states.mask.bool()
        if not states.entering[real].isfinite().all() or not whole[real].isfinite().all():
            half = self.teacher.dtype == torch.float16
            named = ", ".join(window.id for window in windows)
            raise NotFinite(
                f"hidden states of {self.teacher.name} are infinite or no number in {self.teacher.dtype_name}, in the "
                f"batch of {named}: " + ("use --dtype bfloat16 or float32" if half else "look at its weights")
            )
        worst = float((got[real].float() - whole[real].float()).abs().max())
        if not worst <= 2e-2 * max(1.0, float(whole[real].float().abs().max())):
            raise ConfigurationError(
                f"{type(self.teacher.model).__name__} cannot share its trunk with a student: run from the middle its "
                f"last layers differ by {worst:.3g}"
            )

    def _found(self, windows: Sequence[TokenWindow]) -> list[States]:
        if self._stored is not None:
            return [self._stored.of(window) for window in windows]
        once = [window for window in windows if window.id not in self._group]
        found = dict(zip([window.id for window in once], self._run(once) if once else [], strict=True))
        for window in windows:
            if window.id not in found:
                if window.id not in self._remembered:
                    group = self._group[window.id]
                    for member, states in zip(group, self._run(group), strict=True):
                        # clone: a view would keep the whole padded batch
                        self._remembered[member.id] = tuple(part.cpu().clone() for part in states)
                found[window.id] = self._remembered[window.id]
        return [found[window.id] for window in windows]

    @torch.no_grad()  # not inference mode: what enters the trained layers is kept for their gradient
    def _padded(self, windows: Sequence[TokenWindow], found: Sequence[States]) -> TeacherStates:
        layout = lay_out(windows, self.row, self.teacher.device)
        hidden = [states[1] for states in found] if self.known is None else [self.known.of(w) for w in windows]
        head = FrozenHead(self.teacher.model) if self.known is None else self.known.head
        entering = layout.put([states[0] for states in found]).to(self.teacher.device)
        return TeacherStates(layout, entering, layout.put(hidden).to(self.teacher.device), head)

    def _run(self, windows: Sequence[TokenWindow]) -> list[States]:
        """As `_pass`, in as many passes as are needed."""
        return [states for some in passes(windows, self.at_once, self.row) for states in self._pass(some)]

    @torch.inference_mode()
    def _pass(self, windows: Sequence[TokenWindow]) -> list[States]:
        """Of each window, (T, D) states that enter the first trained layer, and (T, D) h_t where it is not known."""
        layout = lay_out(windows, self.row, self.teacher.device)
        owner = self.teacher.model if self.student is None else self.student
        layer = decoder_layers(owner)[self.first_trained]
        if self.student is None and self.known is None:
            self.teacher.model.eval()  # dropout would tell teacher and student apart
            with _Watched(layer, stop=False) as watched:
                hidden = self.teacher.hidden_states(layout.ids, **layout.seen())
            parts = [watched.entering, hidden]
        else:
            for module in _frozen_modules(owner, self.first_trained):
                module.eval()
            parts = [_entering(owner, layer, layout)]
            if self.known is None:
                self.teacher.model.eval()
                parts.append(self.teacher.hidden_states(layout.ids, **layout.seen()))
        return list(zip(*map(layout.take, parts), strict=True))

    def _key(self) -> dict[str, Any]:
        """What decides the states beside teacher and text."""
        own = None if self.student is None else weights_key(_frozen_modules(self.student, self.first_trained))
        packed = {} if self.row is None else {ROW: self.row}
        return {"first trained layer": self.first_trained, "the student's own frozen layers": own, **packed}


def trunk_of(
    teacher: Teacher,
    student: PreTrainedModel,
    trainable: int,
    windows: Sequence[TokenWindow],
    folder: Path | None = None,
    known: Known | None = None,
    at_once: int | None = None,
    row: int | None = None,
) -> Trunk:
    """The trunk of a student: the teacher's where its frozen layers are the teacher's first ones, else its own.

    Args:
        trainable: layers at the student's end that are trained.
        folder, known, at_once, row: see `Trunk`.
    """
    first = len(decoder_layers(student)) - trainable
    own = None
    if not shares_trunk(teacher, student, first):
        own = student
        tqdm.write(
            f"the student's {first} frozen layers are not the teacher's first: they run apart, a pass of their own "
            "beside the teacher's",
            file=sys.stderr,
        )
    return Trunk(teacher, first, windows, folder=folder, student=own, known=known, at_once=at_once, row=row)


def shares_trunk(teacher: Teacher, student: PreTrainedModel, frozen: int) -> bool:
    """Whether a student's embeddings and first layers have the teacher's weights, to the last bit."""
    pairs = zip(_frozen_modules(student, frozen), _frozen_modules(teacher.model, frozen), strict=True)
    return all(_same(own, theirs) for own, theirs in pairs)


class _Reached(Exception):
    """No error: the pass has come as far as it was wanted."""


class _Watched:
    """Keeps what enters a layer; and ends the pass there, if it is to stop."""

    def __init__(self, layer: nn.Module, stop: bool) -> None:
        self._stop = stop
        self._hook = layer.register_forward_pre_hook(self._look, with_kwargs=True)
        self.entering = torch.empty(0)

    def _look(self, _module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        self.entering = args[0] if args else kwargs["hidden_states"]
        if self._stop:
            raise _Reached

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> bool:
        self._hook.remove()
        return kind is _Reached


def _entering(model: PreTrainedModel, layer: nn.Module, layout: Layout) -> Tensor:
    """(B, T, D) what enters a layer; it and those after it do not run."""
    with _Watched(layer, stop=True) as watched:
        (model.get_decoder() or model.base_model)(input_ids=layout.ids, use_cache=False, **layout.seen())
    return watched.entering


def _frozen_modules(model: PreTrainedModel, frozen: int) -> list[nn.Module]:
    """The first layers, and all that a backbone has beside layers: embeddings, positions, dropout, final norm."""
    layers = decoder_layers(model)
    others = [child for child in (model.get_decoder() or model.base_model).children() if child is not layers]
    return [*others, *layers[:frozen]]


def _same(own: nn.Module, theirs: nn.Module) -> bool:
    a, b = own.state_dict(), theirs.state_dict()
    return a.keys() == b.keys() and all(torch.equal(weight, b[name]) for name, weight in a.items())
