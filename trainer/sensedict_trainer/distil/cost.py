"""What a student has of weights, and what a token of its training costs in FLOPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from sensedict_trainer.distil.layers import shared_layers
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.student import decoder_layers
from sensedict_trainer.distil.terms.term import HeadTerm
from sensedict_trainer.teacher import Teacher


@dataclass(frozen=True)
class Parameters:
    """Numbers in weights; what is tied counts once."""

    teacher: int
    student: int
    trained: int


@dataclass(frozen=True)
class Flops:
    """Of a token, a product and its sum counting as two; attention as if it were not causal, over the mean window.

    Attributes:
        teacher: its layers, all where the objective reads its states; trunk: the first of them, which the student
            shares and does not run again.
        own_trunk: the student's own frozen layers, where they are not the teacher's first ones.
        forward, backward: of the trained layers. Fused attention works its scores out anew, which is not counted.
        teacher_head: the teacher's logits, where the objective reads them.
        head: the student's logits, and back to its hidden states.
    """

    teacher: int
    trunk: int
    own_trunk: int
    forward: int
    backward: int
    teacher_head: int
    head: int

    @property
    def frozen(self) -> int:
        """What is done once a token, and remembered while there is room."""
        return self.teacher + self.own_trunk

    @property
    def step(self) -> int:
        """What is done in each epoch."""
        return self.forward + self.backward + self.teacher_head + self.head


def count_parameters(teacher: Teacher, kept: Sequence[int], trainable: int) -> Parameters:
    """Numbers in the weights of a teacher and of a student that keeps some of its layers."""
    layers = [sum(weight.numel() for weight in layer.parameters()) for layer in decoder_layers(teacher.model)]
    whole = sum(weight.numel() for weight in teacher.model.parameters())
    trained = sum(layers[layer] for layer in kept[len(kept) - trainable :])
    return Parameters(whole, whole - sum(layers) + sum(layers[layer] for layer in kept), trained)


def count_flops(recipe: Recipe, teacher: Teacher, kept: Sequence[int], lengths: Sequence[int]) -> Flops:
    """FLOPs of a token of windows of these lengths, by the shapes of the weights; every expert of a mixture counts."""
    config = teacher.model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 0  # a state-space model has none
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // max(1, heads)
    context = sum(length * length for length in lengths) / sum(lengths)  # the mean over tokens
    attention = round(4 * heads * head_dim * context)
    layers = [_weight_flops(layer) + attention for layer in decoder_layers(teacher.model)]
    frozen = len(kept) - recipe.trainable
    shares = shared_layers(kept) >= frozen
    forward = sum(layers[layer] for layer in kept[frozen:])
    of_head = 2 * teacher.vocabulary_size * teacher.dim
    terms = [term for term in recipe.active.values() if isinstance(term, HeadTerm)]
    return Flops(
        teacher=sum(layers) if recipe.reads_teacher else sum(layers[: frozen if shares else 0]),
        trunk=sum(layers[:frozen]) if shares else 0,
        own_trunk=0 if shares else sum(layers[layer] for layer in kept[:frozen]),
        forward=forward,
        backward=2 * forward,
        teacher_head=of_head if any(term.needs_teacher for term in terms) else 0,
        head=2 * of_head if terms else 0,
    )


def _weight_flops(layer: nn.Module) -> int:
    return 2 * sum(weight.numel() for weight in layer.parameters() if weight.ndim > 1)
