"""Where in a teacher hidden states are read: after its final norm, or at the output of one of its layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sensedict.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from sensedict_trainer.teacher import Teacher

_LAYER = re.compile(r"layer:([1-9][0-9]{0,3})", re.ASCII)


@dataclass(frozen=True)
class StatePoint:
    """Where hidden states are read; a property of a dictionary, since senses of two points are not alike.

    Attributes:
        layer: 1 .. L: the output of that decoder layer, without the final norm; None: the last layer's, after it.
    """

    layer: int | None = None

    def __str__(self) -> str:
        """As dictionaries have it, `final_norm` or `layer:12`."""
        return "final_norm" if self.layer is None else f"layer:{self.layer}"

    def check(self, layers: int, key_policy: str) -> None:
        """Let pass what a teacher of so many layers has, and what the key policy can be told at.

        Raises:
            InvalidInput: it has fewer layers, or the policy is `predicted`: the head reads the final norm alone.
        """
        if self.layer is None:
            return
        if self.layer > layers:
            raise InvalidInput(
                f"there is no state point {self}: the teacher has {layers} layers, "
                f"choose layer:1 to layer:{layers}, or final_norm"
            )
        if key_policy == "predicted":
            raise InvalidInput(
                f"the key predicted cannot be told at {self}: the teacher's head reads states after the final norm; "
                "choose the key input or next, or the state point final_norm"
            )


FINAL_NORM = StatePoint()


def parse_state_point(text: str) -> StatePoint:
    """The state point that a dictionary or a user names.

    >>> parse_state_point("layer:12").layer
    12

    Raises:
        InvalidInput: it is neither `final_norm` nor `layer:` and a number from 1.
    """
    if text == str(FINAL_NORM):
        return FINAL_NORM
    found = _LAYER.fullmatch(text)
    if found is None:
        raise InvalidInput(
            f"{text!r} is no state point: give final_norm, or layer:N with N from 1 to the teacher's number of layers"
        )
    return StatePoint(int(found[1]))


class _Reached(Exception):
    """No error: the pass has come as far as it was wanted."""


def layer_output(teacher: Teacher, layer: int, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    """(B, T, D) what a decoder layer gives; the layers after it do not run. For one thread at a time.

    Args:
        layer: 1 .. L.

    Raises:
        ConfigurationError: an architecture whose layers cannot be told, or give something else than hidden states.
    """
    seen: list[Tensor] = []

    def stop(_module: nn.Module, _args: Any, output: Any) -> None:
        seen.append(output if isinstance(output, Tensor) else output[0])
        raise _Reached

    hook = _layers(teacher)[layer - 1].register_forward_hook(stop)
    try:
        teacher.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    except _Reached:
        pass
    finally:
        hook.remove()
    expected = (*input_ids.shape, teacher.dim)
    if not seen or seen[0].shape != expected:
        shape = tuple(seen[0].shape) if seen else None
        raise ConfigurationError(
            f"layer {layer} of {type(teacher.model).__name__} gives {shape} in place of {expected}: "
            "only the state point final_norm can be read"
        )
    return seen[0]


def _layers(teacher: Teacher) -> nn.ModuleList:
    """The decoder's layers, whatever their list is called (`layers`, `h`, `blocks`): no other has that length."""
    lists = [child for child in teacher.backbone.children() if isinstance(child, nn.ModuleList)]
    found = [child for child in lists if len(child) == teacher.layers]
    if len(found) != 1:
        raise ConfigurationError(
            f"{type(teacher.model).__name__} has no one list of its {teacher.layers} decoder layers: "
            "only the state point final_norm can be read"
        )
    return found[0]
