"""Answers that a model writes: one line after each prompt, always the likeliest token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


@torch.inference_mode()
def write_lines(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    batch_size: int,
    done: Callable[[float], None] = lambda _count: None,
) -> list[str]:
    """What a model writes after each prompt, greedily, until a line or the text ends or `new_tokens` are spent.

    Each text is without blanks around it, and empty where the model writes nothing. Prompts are batched by length.

    Args:
        model: in any mode; it is put in evaluation mode for the time.
        prompts: token ids, none empty.
        batch_size: prompts at once.
        done: told how many more are done.
    """
    stops = _stops(model, tokenizer)
    config = GenerationConfig(
        max_new_tokens=new_tokens,
        do_sample=False,
        eos_token_id=sorted(stops),
        pad_token_id=min(stops),  # masked before a prompt; after a stop nothing is read
        bos_token_id=tokenizer.bos_token_id,
    )
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    lines: dict[int, str] = {}
    was_training = model.training
    model.eval()
    with _no_settings_of_its_own(model):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for i, new in zip(batch, _generate(model, [prompts[i] for i in batch], config), strict=True):
                lines[i] = _first_line(tokenizer, new, stops)
            done(len(batch))
    model.train(was_training)
    return [lines[i] for i in range(len(prompts))]


@contextmanager
def _no_settings_of_its_own(model: PreTrainedModel) -> Iterator[None]:
    """Put aside what a model's folder says of generating: `generate` fills up from it what it is not told.

    Some families come with a repetition penalty, with which the likeliest token is another.
    """
    own: GenerationConfig = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _stops(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end an answer: those with a line's end in them, and what ends a text or a message."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    stops = {i for i, text in enumerate(texts) if "\n" in text}
    settings = model.generation_config
    for end in (tokenizer.eos_token_id, None if settings is None else settings.eos_token_id):
        stops.update([] if end is None else [end] if isinstance(end, int) else end)
    return frozenset(stops)


def _generate(model: PreTrainedModel, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> list[list[int]]:
    """New tokens of each prompt, with what follows a stop; prompts are padded on the left."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), config.pad_token_id, dtype=torch.int64)
    mask = torch.zeros((len(prompts), width), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    whole = model.generate(
        input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config
    )
    new: list[list[int]] = whole[:, width:].tolist()
    return new


def _first_line(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], stops: frozenset[int]) -> str:
    """The text up to the first stop; a token may hold a line's end and words before it."""
    stop = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    text = str(tokenizer.decode(list(ids[: stop + 1]), skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return text.partition("\n")[0].strip()
