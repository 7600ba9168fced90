"""Steps of distillation to be timed: plain `transformers`, and ours in three ways, with one student and optimizer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sensedict.source import SenseSource
from sensedict_trainer.distil.cache import SenseCache
from sensedict_trainer.distil.prefetch import Prefetcher, PreparedBatch
from sensedict_trainer.distil.recipe import Recipe
from sensedict_trainer.distil.selection import Selection, select
from sensedict_trainer.distil.step import BatchLosses, Denominators, Stepper
from sensedict_trainer.distil.student import Tail, cut_student
from sensedict_trainer.distil.terms.kl import ForwardKL
from sensedict_trainer.distil.trunk import Trunk
from sensedict_trainer.teacher import Teacher
from sensedict_trainer.text import TokenWindow

TEMPERATURE = 2.0
TRAINABLE = 2
RATE = 1e-6  # what is timed does not depend on it
KD = Recipe("kd", {"kl": ForwardKL(temperature=TEMPERATURE)}, lr=RATE, trainable=TRAINABLE)
DSKD = Recipe("dskd", {"kl": ForwardKL(temperature=TEMPERATURE)}, lr=RATE, trainable=TRAINABLE)
Step = Callable[[], object]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of the student's logits, the teacher's, and targets


class Pair:
    """A teacher, its student of half the layers, and the steps that train it over and over on some batches."""

    def __init__(self, teacher: Teacher, batches: Sequence[Sequence[TokenWindow]]) -> None:
        self.teacher, self.batches = teacher, batches
        self.student: PreTrainedModel = cut_student(teacher, teacher.layers // 2, TRAINABLE)
        self.tail = Tail(self.student, TRAINABLE)
        self.trained = [weight for weight in self.student.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=RATE, fused=True)  # as `transformers.Trainer` has it

    def naive(self, loss: Loss) -> Step:
        """Both models in full, logits and loss as everybody writes them."""
        turns = itertools.cycle(self.batches)

        def step() -> None:
            ids = torch.stack([torch.as_tensor(window.ids, dtype=torch.int64) for window in next(turns)])
            with torch.no_grad():
                goal = self.teacher.model(input_ids=ids, use_cache=False).logits[:, :-1]
            own = self.student(input_ids=ids, use_cache=False).logits[:, :-1]
            loss(own.flatten(0, 1), goal.flatten(0, 1), ids[:, 1:].flatten()).backward()
            self._move()

        return step

    def apart(self) -> Step:
        """Both models in full, our losses."""
        return self._ours(self._trunk(memory=0, student=self.student))

    def shared(self) -> Step:
        """One pass of the frozen layers for both."""
        return self._ours(self._trunk(memory=0))

    def cached(self) -> Step:
        """What is frozen is remembered."""
        return self._ours(self._warm())

    def kd_and_dskd(self, source: SenseSource, measure_every: int) -> tuple[Step, Step, Prefetcher]:
        """Steps with everything remembered that can be; the second has its senses from a prefetcher, to be closed."""
        trunk = self._warm()
        identity = source.identity
        cache = SenseCache(identity.senses, identity.dim, identity.senses, self.teacher.device)
        selections: dict[str, Selection] = {}
        prefetcher = Prefetcher(itertools.cycle(self.batches), source, cache, DSKD.sampling, selections)
        plain, with_senses = Stepper(KD, *self._parts, None), Stepper(DSKD, *self._parts, cache)
        turns = map(PreparedBatch, itertools.cycle(self.batches))
        prepared = iter(prefetcher)
        numbers = itertools.count(), itertools.count()

        def kd() -> None:
            self._step(trunk, plain, next(turns), [], next(numbers[0]) % measure_every == 0)

        def dskd() -> None:
            batch = next(prepared)
            for window in batch.windows:
                if window.id not in selections:
                    drawn, states = batch.draws[window.id], trunk.states([window])
                    rows = cache.rows(drawn.ids)
                    selections[window.id] = select(drawn, states.hidden[0], cache.table, rows, DSKD.nearest)
            chosen = [selections[window.id] for window in batch.windows]
            self._step(trunk, with_senses, batch, chosen, next(numbers[1]) % measure_every == 0)
            assert batch.held is not None
            cache.release(batch.held)

        return kd, dskd, prefetcher

    @property
    def _parts(self) -> tuple[Teacher, PreTrainedModel, Tail]:
        return self.teacher, self.student, self.tail

    def _trunk(self, memory: int, student: PreTrainedModel | None = None) -> Trunk:
        windows = [window for batch in self.batches for window in batch]
        return Trunk(self.teacher, self.teacher.layers // 2 - TRAINABLE, windows, memory, student=student)

    def _warm(self) -> Trunk:
        trunk = self._trunk(memory=4 * 2**30)
        for batch in self.batches:
            trunk.states(batch)
        return trunk

    def _ours(self, trunk: Trunk) -> Step:
        stepper = Stepper(KD, *self._parts, None)
        turns = map(PreparedBatch, itertools.cycle(self.batches))
        return lambda: self._step(trunk, stepper, next(turns), [], False)

    def _step(
        self, trunk: Trunk, stepper: Stepper, batch: PreparedBatch, selections: list[Selection], measure: bool
    ) -> None:
        positions = sum(len(window.ids) - 1 for window in batch.windows)
        sampled = sum(len(found.positions) for found in selections)
        losses = BatchLosses()
        states = trunk.states(batch.windows)
        stepper.backward(states, selections, Denominators(positions, sampled), losses, 0.0, measure)
        self._move()

    def _move(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def plain_loss(own: Tensor, goal: Tensor, targets: Tensor) -> Tensor:
    """CE + T² · KL of logits (n, V)."""
    own_logs = F.log_softmax(own / TEMPERATURE, dim=-1)
    goal_logs = F.log_softmax(goal / TEMPERATURE, dim=-1)
    kl = F.kl_div(own_logs, goal_logs, reduction="batchmean", log_target=True)
    return F.cross_entropy(own, targets) + TEMPERATURE**2 * kl


def trl_loss(own: Tensor, goal: Tensor, targets: Tensor) -> Tensor:
    """The same, the KL by TRL: its generalised JSD at β = 0."""
    from trl.experimental.gkd import GKDTrainer

    kl = GKDTrainer.generalized_jsd_loss(own[None], goal[None], targets[None], beta=0.0, temperature=TEMPERATURE)
    return F.cross_entropy(own, targets) + TEMPERATURE**2 * kl


@dataclass(frozen=True)
class Shares:
    """Multiply-adds a token, in units of one layer's: what bounds the gain of computing nothing twice.

    Attention's products of positions, softmaxes and norms are left out.
    """

    layers: int
    head: float

    @classmethod
    def of(cls, teacher: Teacher) -> Shares:
        """By the teacher's matrices."""
        backbone = teacher.backbone
        matrices = [w.numel() for name, w in backbone.named_parameters() if w.dim() == 2 and ".layers" in f".{name}"]
        layer = sum(matrices) / teacher.layers
        return cls(teacher.layers, teacher.model.get_output_embeddings().weight.numel() / layer)

    @property
    def naive(self) -> float:
        """Teacher, student, and back through the head and the trained layers' inputs and weights."""
        return self.layers + self.layers // 2 + 3 * self.head + 2 * TRAINABLE

    @property
    def shared(self) -> float:
        """Without the student's frozen layers."""
        return self.naive - (self.layers // 2 - TRAINABLE)

    @property
    def cached(self) -> float:
        """Without the teacher's layers too."""
        return self.shared - self.layers


def llama_head_teacher(dim: int, vocabulary: int = 128_256) -> Teacher:
    """A random model with Llama-3-8B's numbers of layers and tokens, and the head 2.41 times a layer's weights.

    Heads, and the group of four that shares keys, are as there in proportion; the feed-forward part is as wide as the
    share of the head asks for: a narrow D with so many tokens needs it wider than 3.5 · D.
    """
    head, layer = 128_256 * 4096, 4096 * (2 * 4096 + 2 * 1024 + 3 * 14_336)
    attention = dim * (2 * dim + dim // 2)
    inner = round((vocabulary * dim * layer / head - attention) / (3 * dim))
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        intermediate_size=inner,
        num_hidden_layers=32,
        num_attention_heads=dim // 64,
        num_key_value_heads=max(dim // 256, 1),
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        dtype="float32",
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    return Teacher("random", model, PreTrainedTokenizerBase(), "random", "random", torch.float32, torch.device("cpu"))
