"""How likely texts are after others, for many at once, without generating."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from sensedict_trainer.teacher import head_logits, logit_rows


@dataclass(frozen=True)
class Request:
    """How likely is `continuation` after `context`? Both token ids, neither empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@torch.inference_mode()
def log_likelihoods(
    model: PreTrainedModel,
    requests: Sequence[Request],
    batch_size: int,
    share: bool = True,
    done: Callable[[int], None] = lambda _count: None,
) -> NDArray[np.float64]:
    """Sum of the log-probabilities (nats) of each continuation's tokens after its context.

    Tokens that all contexts begin with (few-shot examples) pass through the model once; their keys and values are
    shared. Requests that read the same tokens, as those of all letters after one question, are one row; rows are
    batched by length.

    Args:
        model: in any mode; it is put in evaluation mode for the time.
        requests: at least one.
        batch_size: rows a forward pass.
        share: False to pass every row through whole.
        done: told how many requests are done, batch by batch.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for place, request in enumerate(requests):
        rows.setdefault((*request.context, *request.continuation)[:-1], []).append(place)
    was_training = model.training
    model.eval()
    shared = _shared(requests) if share else 0
    prefix = _prefix_cache(model, requests[0].context[:shared])
    order = sorted(rows, key=len, reverse=True)
    result = np.zeros(len(requests), dtype=np.float64)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        asked = [rows[tokens] for tokens in batch]
        places = [place for group in asked for place in group]
        result[places] = _batch(model, batch, [[requests[i] for i in group] for group in asked], prefix, shared)
        done(len(places))
    model.train(was_training)
    return result


def _shared(requests: Sequence[Request]) -> int:
    """Number of tokens that all contexts begin with, short of the last, whose state predicts the continuation."""
    first, last = min(request.context for request in requests), max(request.context for request in requests)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(same, min(len(request.context) for request in requests) - 1)


def _prefix_cache(model: PreTrainedModel, prefix: Sequence[int]) -> Any:
    """Keys and values of the shared tokens (a transformers cache of batch 1), None when there are none."""
    if not prefix:
        return None
    ids = torch.tensor([prefix], device=model.device)
    return model.base_model(input_ids=ids, use_cache=True)[_cache_name(model)]


def _cache_name(model: PreTrainedModel) -> str:
    """What this version of transformers calls keys and values: `past_key_values`, later `cache`."""
    parameters = inspect.signature(model.base_model.forward).parameters
    return "cache" if "cache" in parameters else "past_key_values"


def _batch(
    model: PreTrainedModel,
    rows: Sequence[tuple[int, ...]],
    asked: Sequence[Sequence[Request]],
    prefix: Any,
    shared: int,
) -> NDArray[np.float64]:
    """Log-likelihoods of what is `asked` of each row, one after another; rows are padded on the right."""
    device = model.device
    width = max(map(len, rows)) - shared
    ids = torch.zeros((len(rows), width), dtype=torch.int64)
    mask = torch.zeros((len(rows), shared + width), dtype=torch.int64)
    at: list[tuple[int, int]] = []  # row and column of the state that predicts each target
    targets: list[int] = []
    owners: list[int] = []  # which request each target is of
    number = 0
    for row, (tokens, requests) in enumerate(zip(rows, asked, strict=True)):
        ids[row, : len(tokens) - shared] = torch.tensor(tokens[shared:])
        mask[row, : len(tokens)] = 1
        for request in requests:
            first = len(request.context) - shared - 1
            at += [(row, first + i) for i in range(len(request.continuation))]
            targets += request.continuation
            owners += [number] * len(request.continuation)
            number += 1
    options: dict[str, Any] = {"use_cache": False}
    if prefix is not None:
        # The forward pass appends to the cache it is given, so each batch gets its own copy.
        cache = copy.deepcopy(prefix)
        cache.batch_repeat_interleave(len(rows))
        options = {"use_cache": True, _cache_name(model): cache}
    states = model.base_model(input_ids=ids.to(device), attention_mask=mask.to(device), **options).last_hidden_state
    row_at, column_at = torch.tensor(at, device=device).T
    values = _log_probabilities(model, states[row_at, column_at], torch.tensor(targets, device=device))  # (n,)
    sums = np.zeros(number, dtype=np.float64)
    np.add.at(sums, owners, values.cpu().numpy())
    return sums


def _log_probabilities(model: PreTrainedModel, states: Tensor, targets: Tensor) -> Tensor:
    """(n,) float64 log p(target); states (n, D). Only answers' positions reach the head, a chunk at a time."""
    chunk = logit_rows(model.get_output_embeddings().weight.shape[0])
    parts = []
    for start in range(0, len(targets), chunk):
        logits = head_logits(model, states[start : start + chunk]).float()  # (c, V)
        wanted = targets[start : start + chunk].unsqueeze(-1)
        parts.append(F.log_softmax(logits, dim=-1).gather(-1, wanted).squeeze(-1).double())
    return torch.cat(parts)
