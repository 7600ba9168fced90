"""The student: some of the teacher's layers, the last of which are trained (DSKD §4)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sensedict.errors import ConfigurationError
from sensedict_trainer.teacher import Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def cut_student(teacher: Teacher, kept: int | Sequence[int], trainable: int) -> PreTrainedModel:
    """A model of some of the teacher's layers with its embeddings, final norm and head; all but the last layers frozen.

    It is built from a new config and a part of the teacher's state dict, in the teacher's dtype; the layers that are
    trained are in float32, as master weights.

    Args:
        kept: numbers of the teacher's layers, rising; or how many, then its first.
        trainable: layers at its end that get a gradient.

    Raises:
        ConfigurationError: impossible numbers, or an architecture whose layers cannot be told by their names.
    """
    from transformers import AutoModelForCausalLM

    kept = range(kept) if isinstance(kept, int) else list(kept)
    rising = all(first < second for first, second in pairwise(kept)) and set(kept) <= set(range(teacher.layers))
    if not 1 <= trainable <= len(kept) or not rising:
        named = f"{len(kept)} layers" if kept == range(len(kept)) else f"the layers {', '.join(map(str, kept))}"
        raise ConfigurationError(
            f"a student of {named} with {trainable} trained cannot be cut from a teacher of {teacher.layers} layers: "
            "raise the setting layers, or lower trainable"
        )
    config = copy.deepcopy(teacher.model.config)
    _keep(config.get_text_config(), kept)
    student: PreTrainedModel = AutoModelForCausalLM.from_config(
        config,
        dtype=teacher.dtype,
        attn_implementation=teacher.model.config._attn_implementation,
        trust_remote_code=False,
    )
    student.load_state_dict(_kept_weights(teacher.model, kept), strict=True)
    student.generation_config = copy.deepcopy(teacher.model.generation_config)  # how it stops, and samples
    student.to(teacher.device).requires_grad_(False)
    decoder_layers(student)[len(kept) - trainable :].to(torch.float32).requires_grad_(True)
    return student.eval()  # no dropout: the paper's losses compare with a fixed teacher


def _kept_weights(model: PreTrainedModel, kept: Sequence[int]) -> dict[str, Tensor]:
    """A model's weights without the layers that are left out; those kept are numbered anew."""
    prefix = _layers_prefix(model)
    place = {layer: number for number, layer in enumerate(kept)}
    weights = {}
    for name, weight in model.state_dict().items():
        if name.startswith(prefix):
            layer, dot, inner = name.removeprefix(prefix).partition(".")
            if int(layer) not in place:
                continue
            name = f"{prefix}{place[int(layer)]}{dot}{inner}"
        weights[name] = weight
    return weights


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers.

    Raises:
        ConfigurationError: an architecture that keeps them elsewhere.
    """
    backbone = model.get_decoder() or model.base_model
    layers: nn.ModuleList = getattr(backbone, _layers_name(backbone))
    return layers


def _layers_name(backbone: nn.Module) -> str:
    """What the backbone calls its layers: `layers`, in GPT-2 and its like `h`."""
    for name in ("layers", "h"):
        if isinstance(getattr(backbone, name, None), nn.ModuleList):
            return name
    raise ConfigurationError(f"{type(backbone).__name__} has no list of decoder layers: it cannot be cut")


def to_save(student: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy of the student with all its weights in one dtype, on the CPU: the plain model in its folder.

    A device that training fills has no room for a second student: nothing is copied there.
    """
    memo: dict[int, Any] = {}  # of copies by what they are of: deepcopy finds the tensors copied, and tied ones once
    for tensor in (*student.parameters(), *student.buffers()):
        on_cpu = tensor.detach().to("cpu", copy=True)
        # Not what is computed when it is loaded: rotary frequencies stay float32.
        memo[id(tensor)] = nn.Parameter(on_cpu.to(dtype), False) if isinstance(tensor, nn.Parameter) else on_cpu
    plain: PreTrainedModel = copy.deepcopy(student, memo)
    return plain.eval()


class Tail(nn.Module):
    """The student's last layers and final norm, run from the hidden states that enter them.

    The layers before them are frozen, so what enters them need not be computed anew at each step (METHOD §6). The
    modules are shared with the student, not copied.
    """

    def __init__(self, student: PreTrainedModel, trainable: int) -> None:
        super().__init__()
        backbone = student.get_decoder() or student.base_model
        view = copy.copy(backbone)
        view._modules = dict(backbone._modules)
        layers = decoder_layers(student)
        setattr(view, _layers_name(backbone), layers[len(layers) - trainable :])
        if hasattr(view, "wpe"):  # GPT-2 adds positions to what enters it, and the states have them
            view.wpe = _NoPositions()
        view.config = _last_layers(backbone.config, trainable)
        self.view = view

    def forward(self, entering: Tensor, mask: Tensor, positions: Tensor | None = None) -> Tensor:
        """(B, T, D) last hidden states, of states (B, T, D) that enter the first trained layer; mask (B, T).

        Args:
            positions: (B, T) where windows share rows, see `packing.Layout`; they then stand for the mask.
        """
        given = {"attention_mask": mask} if positions is None else {"position_ids": positions}
        states: Tensor = self.view(inputs_embeds=entering, use_cache=False, **given).last_hidden_state
        return states


class _NoPositions(nn.Module):
    """In place of a table of positions: adds nothing."""

    def forward(self, positions: Tensor) -> Tensor:
        return positions.new_zeros((), dtype=torch.bool)  # adding false leaves a state's bits and dtype as they are


def _layers_prefix(model: PreTrainedModel) -> str:
    layers = decoder_layers(model)
    for name, module in model.named_modules():
        if module is layers:
            return f"{name}."
    raise ConfigurationError(f"{type(model).__name__} hides its decoder layers: it cannot be cut")


def _last_layers(config: Any, trainable: int) -> Any:
    last = copy.deepcopy(config)
    _keep(last, range(config.num_hidden_layers - trainable, config.num_hidden_layers))
    return last


def _keep(config: Any, kept: Sequence[int]) -> None:
    """Leave of what a config says layer by layer, such as which of them attend to a sliding window, what is kept."""
    layers = config.num_hidden_layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list | tuple) and len(value) == layers and "layer" in name:
            setattr(config, name, [value[layer] for layer in kept])
    config.num_hidden_layers = len(kept)
