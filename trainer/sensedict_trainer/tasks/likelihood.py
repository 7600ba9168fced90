"""A multiple-choice score without generating: the answer a model finds most likely after the question."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks.questions import Task
from sensedict_trainer.teacher import head_logits, logit_rows


@dataclass(frozen=True)
class Request:
    """How likely is `continuation` after `context`? Both token ids, neither empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class TaskScore:
    """The score of one model in one form of one task.

    Attributes:
        name: task and form: `arc_easy/continuation` takes the answer of the largest log-likelihood (lm-eval's `acc`),
            `arc_easy/continuation_norm` the largest per character (lm-eval's `acc_norm`).
        accuracy: share of questions answered right.
        standard_error: of the accuracy, over questions.
        chance: what guessing gives, from the number of choices of each question.
        questions: number scored.
        shots: examples before each question.
        right: by question, for paired comparison.
    """

    name: str
    accuracy: float
    standard_error: float
    chance: float
    questions: int
    shots: int
    right: tuple[bool, ...]


def score_task(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task, batch_size: int = 16, progress: bool = False
) -> tuple[TaskScore, TaskScore]:
    """The scores of a task in its two forms, `continuation` and `continuation_norm`, from one pass.

    Raises:
        InvalidInput: a question with its examples is longer than the model's context.
    """
    requests, sizes, characters = [], [], []
    preamble = task.preamble()
    lead = _lead(tokenizer)
    for question in task.questions:
        for choice in question.choices:
            requests.append(_request(tokenizer, lead, preamble + question.prompt, " " + choice, question.source))
            characters.append(len(choice))
        sizes.append(len(question.choices))
    _check_lengths(model, requests, task.name)
    scores = log_likelihoods(model, requests, batch_size, progress)
    ends = np.cumsum(sizes)[:-1]
    answers = [question.answer for question in task.questions]
    forms = {"continuation": scores, "continuation_norm": scores / np.array(characters)}
    plain, normed = (
        _score(f"{task.name}/{form}", np.split(values, ends), answers, task.shots) for form, values in forms.items()
    )
    return plain, normed


@torch.inference_mode()
def log_likelihoods(
    model: PreTrainedModel, requests: Sequence[Request], batch_size: int, progress: bool = False
) -> NDArray[np.float64]:
    """Sum of the log-probabilities (nats) of each continuation's tokens after its context.

    Tokens that all contexts begin with (few-shot examples) pass through the model once; their keys and values are
    shared. Requests are batched by length.

    Args:
        model: in any mode; it is put in evaluation mode for the time.
        requests: at least one.
        batch_size: requests a forward pass.
        progress: show a bar.
    """
    was_training = model.training
    model.eval()
    shared = _shared(requests)
    prefix = _prefix_cache(model, requests[0].context[:shared])
    order = sorted(range(len(requests)), key=lambda i: -_length(requests[i]))
    result = np.zeros(len(requests), dtype=np.float64)
    with tqdm(total=len(requests), desc="questions", unit="answer", disable=not progress, leave=False) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            result[batch] = _batch(model, [requests[i] for i in batch], prefix, shared)
            bar.update(len(batch))
    model.train(was_training)
    return result


def _lead(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the tokenizer puts before every text (`<bos>` in some families, nothing in others)."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    return tuple(full[: next((i for i in range(len(full)) if full[i : i + len(plain)] == plain), 0)])


def _request(
    tokenizer: PreTrainedTokenizerBase, lead: tuple[int, ...], context: str, continuation: str, source: str
) -> Request:
    """Context and continuation cut apart after they were tokenized together, as lm-evaluation-harness does."""
    before = tokenizer(context, add_special_tokens=False)["input_ids"]
    whole = tokenizer(context + continuation, add_special_tokens=False)["input_ids"]
    if len(whole) <= len(before):
        raise InvalidInput(f"{source}: the answer {continuation!r} adds no token to its question")
    return Request((*lead, *whole[: len(before)]), tuple(whole[len(before) :]))


def _check_lengths(model: PreTrainedModel, requests: Sequence[Request], name: str) -> None:
    longest = max(map(_length, requests))
    window = getattr(model.config, "max_position_embeddings", longest)
    if longest > window:
        raise InvalidInput(f"{name}: a question takes {longest} tokens and the model reads {window}: use fewer shots")


def _length(request: Request) -> int:
    """Tokens that pass through the model: the last one is only predicted."""
    return len(request.context) + len(request.continuation) - 1


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


def _batch(model: PreTrainedModel, requests: Sequence[Request], prefix: Any, shared: int) -> NDArray[np.float64]:
    """(B,) log-likelihoods, padded on the right."""
    device = model.device
    width = max(map(_length, requests)) - shared
    ids = torch.zeros((len(requests), width), dtype=torch.int64)
    mask = torch.zeros((len(requests), shared + width), dtype=torch.int64)
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for row, request in enumerate(requests):
        tokens = (*request.context, *request.continuation)[shared:-1]
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : shared + len(tokens)] = 1
        first = len(request.context) - shared - 1  # the state here predicts the continuation's first token
        rows += [row] * len(request.continuation)
        columns += range(first, first + len(request.continuation))
        targets += request.continuation
    options: dict[str, Any] = {"use_cache": False}
    if prefix is not None:
        # The forward pass appends to the cache it is given, so each batch gets its own copy.
        cache = copy.deepcopy(prefix)
        cache.batch_repeat_interleave(len(requests))
        options = {"use_cache": True, _cache_name(model): cache}
    states = model.base_model(input_ids=ids.to(device), attention_mask=mask.to(device), **options).last_hidden_state
    values = _log_probabilities(model, states[rows, columns], torch.tensor(targets, device=device))  # (n,)
    sums = np.zeros(len(requests), dtype=np.float64)
    np.add.at(sums, rows, values.cpu().numpy())
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


def _score(name: str, values: Sequence[NDArray[np.float64]], answers: Sequence[int], shots: int) -> TaskScore:
    right = tuple(int(np.argmax(row)) == answer for row, answer in zip(values, answers, strict=True))
    n = len(right)
    accuracy = sum(right) / n
    spread = math.sqrt(accuracy * (1 - accuracy) / max(n - 1, 1))
    chance = float(np.mean([1 / len(row) for row in values]))
    return TaskScore(name, accuracy, spread, chance, n, shots, right)
