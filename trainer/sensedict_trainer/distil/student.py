"""The student: the teacher's first layers, the last of which are trained (DSKD §4)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sensedict.errors import ConfigurationError
from sensedict_trainer.teacher import Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def cut_student(teacher: Teacher, layers: int, trainable: int) -> PreTrainedModel:
    """A model of the teacher's first layers with its embeddings, final norm and head; all but the last layers frozen.

    It is built from a new config and a slice of the teacher's state dict, in the teacher's dtype; the layers that are
    trained are in float32, as master weights.

    Args:
        layers: of the student, fewer than the teacher's or as many.
        trainable: layers at its end that get a gradient.

    Raises:
        ConfigurationError: impossible numbers, or an architecture whose layers cannot be told by their names.
    """
    from transformers import AutoModelForCausalLM

    if not 1 <= trainable <= layers <= teacher.layers:
        raise ConfigurationError(
            f"a student of {layers} layers with {trainable} trained cannot be cut from a teacher of {teacher.layers}"
        )
    student: PreTrainedModel = AutoModelForCausalLM.from_config(
        _sliced_config(teacher, layers),
        dtype=teacher.dtype,
        attn_implementation=teacher.model.config._attn_implementation,
        trust_remote_code=False,
    )
    prefix = _layers_prefix(teacher.model)
    kept = {
        name: weight
        for name, weight in teacher.model.state_dict().items()
        if not name.startswith(prefix) or int(name.removeprefix(prefix).partition(".")[0]) < layers
    }
    student.load_state_dict(kept, strict=True)
    student.generation_config = copy.deepcopy(teacher.model.generation_config)  # how it stops, and samples
    student.to(teacher.device).requires_grad_(False)
    decoder_layers(student)[layers - trainable :].to(torch.float32).requires_grad_(True)
    return student.eval()  # no dropout: the paper's losses compare with a fixed teacher


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers.

    Raises:
        ConfigurationError: an architecture that keeps them elsewhere.
    """
    found = getattr(model.get_decoder() or model.base_model, "layers", None)
    if not isinstance(found, nn.ModuleList):
        raise ConfigurationError(f"{type(model).__name__} has no list of decoder layers: it cannot be cut")
    return found


def to_save(student: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy of the student wholly in one dtype: a plain model."""
    return copy.deepcopy(student).to(dtype).requires_grad_(False).eval()


class Tail(nn.Module):
    """The student's last layers and final norm, run from the hidden states that enter them.

    The layers before them are frozen and the teacher's own, so the teacher's pass gives those states (METHOD §6). The
    modules are shared with the student, not copied.
    """

    def __init__(self, student: PreTrainedModel, trainable: int) -> None:
        super().__init__()
        backbone = student.get_decoder() or student.base_model
        view = copy.copy(backbone)
        view._modules = dict(backbone._modules)
        layers = decoder_layers(student)
        view.layers = layers[len(layers) - trainable :]
        view.config = _last_layers(backbone.config, trainable)
        self.view = view

    def forward(self, entering: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) last hidden states, of states (B, T, D) that enter the first trained layer; mask (B, T)."""
        states: Tensor = self.view(inputs_embeds=entering, attention_mask=mask, use_cache=False).last_hidden_state
        return states


def _layers_prefix(model: PreTrainedModel) -> str:
    layers = decoder_layers(model)
    for name, module in model.named_modules():
        if module is layers:
            return f"{name}."
    raise ConfigurationError(f"{type(model).__name__} hides its decoder layers: it cannot be cut")


def _sliced_config(teacher: Teacher, layers: int) -> Any:
    config = copy.deepcopy(teacher.model.config)
    text = config.get_text_config()
    _slice(text, slice(0, layers), teacher.layers)
    return config


def _last_layers(config: Any, trainable: int) -> Any:
    sliced = copy.deepcopy(config)
    _slice(sliced, slice(config.num_hidden_layers - trainable, None), config.num_hidden_layers)
    return sliced


def _slice(config: Any, part: slice, layers: int) -> None:
    """Cut what a config says layer by layer, such as which of them attend to a sliding window."""
    for name, value in list(vars(config).items()):
        if isinstance(value, list | tuple) and len(value) == layers and name.startswith("layer"):
            setattr(config, name, value[part])
    config.num_hidden_layers = len(range(layers)[part])
