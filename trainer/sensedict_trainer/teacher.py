"""A teacher: a causal language model, its tokenizer, and the hashes by which a dictionary knows it again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sensedict.errors import ConfigurationError, Mismatch
from sensedict_trainer.state_points import FINAL_NORM, StatePoint, layer_output
from sensedict_trainer.teacher_folder import check_folder, folder_of, weights_hash
from sensedict_trainer.teacher_folder import fingerprint_of as fingerprint_of

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from sensedict.source import Identity

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO = "auto"  # in place of a device: every one that there is


@dataclass(frozen=True)
class Teacher:
    """A frozen causal language model; `hidden_states` and `head` are the two halves of its forward pass.

    Attributes:
        name: folder or hub name, as given.
        model: in eval mode, no parameter requires a gradient.
        tokenizer: a fast tokenizer.
        fingerprint: sha256 over config and weights as they are stored, see `weights_hash`.
        tokenizer_hash: see `tokenizer_hash`.
        dtype: of the weights.
        device: where input goes; its layers may lie on others too, see `load_teacher`.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fingerprint: str
    tokenizer_hash: str
    dtype: torch.dtype
    device: torch.device

    @property
    def dtype_name(self) -> str:
        """The dtype as settings have it, `float32`."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def summary(self) -> str:
        """One line for whoever waits."""
        devices = dict.fromkeys(str(weight.device) for weight in self.model.parameters())
        return (
            f"teacher {self.name}: {type(self.model).__name__}, {self.layers} layers, D = {self.dim}, "
            f"V = {self.vocabulary_size:,}, {self.dtype_name} on {', '.join(devices)}"
        )

    def mixed(self) -> torch.autocast:
        """In which a student passes: its frozen layers have the teacher's dtype, its trained ones are in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @property
    def dim(self) -> int:
        """D, the width of a hidden state."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def vocabulary_size(self) -> int:
        """V, the width of the output head (it may be padded past the tokenizer's size)."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return int(self.model.config.get_text_config().num_hidden_layers)

    @property
    def backbone(self) -> nn.Module:
        """The model without its head: embeddings, layers and final norm."""
        backbone: nn.Module = self.model.get_decoder() or self.model.base_model
        return backbone

    def hidden_states(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **positions: Tensor | None
    ) -> Tensor:
        """Last hidden states after the final norm: the vectors that the head reads.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T), 1 where a position is real; None when all are.
            positions: `position_ids` (B, T), where they are not 0, 1, 2 …

        Returns:
            (B, T, D) in the teacher's dtype.
        """
        states: Tensor = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **positions
        ).last_hidden_state
        return states

    def states_at(self, point: StatePoint, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, D) hidden states where they are wanted; layers after that do not run. Else as `hidden_states`."""
        if point.layer is None:
            return self.hidden_states(input_ids, attention_mask)
        return layer_output(self, point.layer, input_ids, attention_mask)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) of hidden states (…, D), with the model's own scaling and soft cap."""
        return head_logits(self.model, hidden)

    def check_state_point(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> None:
        """Check on real input that `head(hidden_states(x))` are the model's own logits.

        Raises:
            ConfigurationError: the model puts something between its final norm and its logits that we do not know;
                senses read there would not be what the head reads.
        """
        with torch.inference_mode():
            ours = self.head(self.hidden_states(input_ids, attention_mask)).float()
            own = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits.float()
        own = own.to(ours.device)
        real = slice(None) if attention_mask is None else attention_mask.bool().to(ours.device)
        if not torch.isfinite(ours[real]).all():
            raise ConfigurationError(f"the teacher {self.name!r} gives NaN or infinite logits: its weights are damaged")
        worst = float((ours[real] - own[real]).abs().max())
        if worst > 1e-3 * max(1.0, float(own[real].abs().max())):
            raise ConfigurationError(
                f"the teacher {self.name!r} ({type(self.model).__name__}) changes its logits after the head by up to "
                f"{worst:.3g}: its last hidden state is not what its head reads, and this architecture is not supported"
            )


@dataclass(frozen=True)
class FrozenHead:
    """A model's output head in two steps, as `distil.head` takes it: a product, and what is done to its numbers."""

    model: PreTrainedModel

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def plain(self) -> bool:
        """Whether the product is the logits."""
        return not any(self._setting(name) for name in ("logit_scale", "logits_scaling", "final_logit_softcapping"))

    def product(self, hidden: Tensor) -> Tensor:
        """(…, V) of hidden states (…, D), in the dtype of the head's weights."""
        head = self.model.get_output_embeddings()
        product: Tensor = head(hidden.to(head.weight.dtype))
        return product

    def shape(self, product: Tensor) -> Tensor:
        """Logits (…, V): the product with the model's own scaling and soft cap."""
        if (scale := self._setting("logit_scale")) is not None:  # Cohere
            product = product * scale
        if (scaling := self._setting("logits_scaling")) is not None:  # Granite
            product = product / scaling
        if (cap := self._setting("final_logit_softcapping")) is not None:  # Gemma
            product = torch.tanh(product / cap) * cap
        return product

    def _setting(self, name: str) -> float | None:
        value: float | None = getattr(self.model.config.get_text_config(), name, None)
        return value


def head_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits (…, V) that a model's head makes of hidden states (…, D), with its own scaling and soft cap."""
    head = FrozenHead(model)
    return head.shape(head.product(hidden))


def logit_rows(vocabulary_size: int) -> int:
    """Positions whose logits are held at once: 2²³ cells, 32 MiB in float32, whatever the vocabulary is."""
    return max(1, (1 << 23) // vocabulary_size)


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of the tokenizer's vocabulary, merges and normalisation, in a canonical form; not of its chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        content: object = sorted(tokenizer.get_vocab().items())
    else:
        content = json.loads(backend.to_str())
        assert isinstance(content, dict)
        # Truncation and padding are how it was last called, not what it is.
        content.pop("truncation", None)
        content.pop("padding", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def check_device(device: str) -> None:
    """Let pass a device that a teacher can run on here, or `auto`.

    Raises:
        ConfigurationError: torch knows no such device, or has none.
    """
    if device == AUTO:
        return
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # an assertion: torch was built without CUDA
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"the device {device!r} cannot be used: {reason}") from error


def load_teacher(name_or_folder: str, dtype: str = "float32", device: str = "cpu") -> Teacher:
    """Load a teacher from a folder, or by its hub name, frozen and ready to run.

    Args:
        name_or_folder: a folder with config.json, *.safetensors and a tokenizer, or a name for `transformers`.
        dtype: `float32`, `bfloat16` or `float16`; stated, because what `transformers` takes by default has changed.
        device: a torch device; or `auto`, all that there are: `accelerate` puts layers on one after another, which is
            for a teacher too large for one, since one works at a time.

    Raises:
        ConfigurationError: no such folder or name, no weights, no tokenizer, a pickle, weights that hold NaN, or more
            of them than the devices have room for.
    """
    if dtype not in DTYPES:
        raise ConfigurationError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    check_device(device)
    folder = folder_of(name_or_folder)
    check_folder(folder)
    model, tokenizer = _read(name_or_folder, folder, DTYPES[dtype], spread=device == AUTO)
    if device == AUTO:
        check_room(name_or_folder, model)
    else:
        model.to(device)
    model.eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ConfigurationError(f"the teacher {name_or_folder!r} holds NaN or infinity in {name}")
    return Teacher(
        name=name_or_folder,
        model=model,
        tokenizer=tokenizer,
        fingerprint=weights_hash(folder),
        tokenizer_hash=tokenizer_hash(tokenizer),
        dtype=DTYPES[dtype],
        device=model.get_input_embeddings().weight.device,
    )


def _read(name: str, folder: Path, dtype: torch.dtype, spread: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and its tokenizer, in main memory or, to be `spread`, on all devices."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # ours say what a user waits for
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map=AUTO if spread else None,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # a broken folder makes the libraries raise all kinds, tokenizers a bare Exception
        raise ConfigurationError(f"the teacher {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise ConfigurationError(
            f"the teacher {name!r} lacks {len(missing)} of its weights, e.g. {missing[0]}: the file is damaged or "
            "belongs to another architecture"
        )
    return model, tokenizer


def check_room(name: str, model: PreTrainedModel) -> None:
    """Let pass a model all of whose weights lie on devices, as `device_map="auto"` has put them.

    Raises:
        ConfigurationError: some lie in main memory or on disk, to be moved to a device at each pass.
    """
    away = [weight for weight, value in model.named_parameters() if value.is_meta]
    if away:
        raise ConfigurationError(
            f"the teacher {name!r} is too large for the devices here: {len(away)} of its weights, e.g. {away[0]}, "
            "would be moved to one at each pass; use --dtype bfloat16, more devices, or --device cpu"
        )


def check_teacher(teacher: Teacher, identity: Identity) -> None:
    """Check that a dictionary was built from this teacher; names what differs.

    Raises:
        Mismatch: another tokenizer, vocabulary width, dimension or revision of the weights.
    """
    pairs = (
        ("tokenizer", teacher.tokenizer_hash, identity.tokenizer_hash),
        ("vocabulary width", teacher.vocabulary_size, identity.vocabulary_size),
        ("dimension", teacher.dim, identity.dim),
        ("weights", teacher.fingerprint, identity.teacher_hash),
    )
    for what, ours, theirs in pairs:
        if ours != theirs:
            raise Mismatch(
                f"the teacher {teacher.name!r} is not the one of {identity.name}@{identity.version} "
                f"(built from {identity.teacher!r}): {what} {ours} here, {theirs} in the dictionary"
            )


def check_identity(teacher: Teacher, identity: Identity) -> None:
    """Check that a dictionary's senses may be compared with this teacher's last hidden states; names what differs.

    Raises:
        Mismatch: as `check_teacher`; or its senses are of a layer in the middle.
    """
    check_teacher(teacher, identity)
    if identity.state_point != str(FINAL_NORM):
        raise Mismatch(
            f"the senses of {identity.name}@{identity.version} were read at {identity.state_point}, and a student's "
            f"last hidden states are compared with senses read at {FINAL_NORM}: train with a dictionary that was built "
            "without --layer"
        )
