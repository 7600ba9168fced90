"""What a teacher is and what a pass of it costs, known from its config before a weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from sensedict.errors import ConfigurationError
from sensedict_trainer.teacher_folder import folder_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Outline:
    """A teacher without its weights.

    Attributes:
        tokenizer: as the teacher's.
        summary: one line for whoever waits.
        dim: D; vocabulary_size: V, the width of the head; layers: of the decoder.
        context: most positions that its config states; None where it has none, as with relative positions.
        parameters: numbers in all of its weights.
        token_flops: of the backbone's products with weights, a token; every expert of a mixture counts.
        pair_flops: of attention, for a token and one of its window.
        head_flops: of the head, a hidden state.
    """

    tokenizer: PreTrainedTokenizerBase
    summary: str
    dim: int
    vocabulary_size: int
    layers: int
    context: int | None
    parameters: int
    token_flops: int
    pair_flops: int
    head_flops: int

    def flops(self, lengths: Sequence[int], headed: int) -> int:
        """Of the pass over windows of these lengths, with the head at `headed` positions; a product and sum are two."""
        return (
            sum(length * self.token_flops + length * length * self.pair_flops for length in lengths)
            + headed * self.head_flops
        )


def load_outline(name_or_folder: str) -> Outline:
    """Read a teacher's config and tokenizer; by hub name, nothing else is downloaded.

    Raises:
        ConfigurationError: no such folder or name, or no config or tokenizer in it that can be read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = folder_of(name_or_folder, weights=False)
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{folder} is no model folder: it has no config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):  # shapes without numbers
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # a broken folder makes the libraries raise all kinds, tokenizers a bare Exception
        raise ConfigurationError(
            f"the config or tokenizer of {name_or_folder!r} cannot be read: {type(error).__name__}: {error}"
        ) from error
    config = model.config.get_text_config()
    summary = f"teacher {name_or_folder}: {type(model).__name__}, {config.num_hidden_layers} layers, "
    width = int(model.get_output_embeddings().weight.shape[0])
    return _outline(model, tokenizer, f"{summary}D = {config.hidden_size}, V = {width:,}, weights not read")


def _outline(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, summary: str) -> Outline:
    config = model.config.get_text_config()
    backbone: nn.Module = model.get_decoder() or model.base_model
    looked_up = {id(m.weight) for m in backbone.modules() if isinstance(m, nn.Embedding)}
    weights = sum(p.numel() for p in backbone.parameters() if p.ndim > 1 and id(p) not in looked_up)
    heads = getattr(config, "num_attention_heads", None) or 0  # a state-space model has none
    context = getattr(config, "max_position_embeddings", None)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // max(1, heads)
    vocabulary_size = int(model.get_output_embeddings().weight.shape[0])
    return Outline(
        tokenizer=tokenizer,
        summary=summary,
        dim=int(config.hidden_size),
        vocabulary_size=vocabulary_size,
        layers=int(config.num_hidden_layers),
        context=context if isinstance(context, int) and context > 0 else None,
        parameters=sum(p.numel() for p in model.parameters()),
        token_flops=2 * weights,
        pair_flops=4 * int(config.num_hidden_layers * heads * head_dim),
        head_flops=2 * vocabulary_size * int(config.hidden_size),
    )
