"""What stands for a teacher's last hidden states, on disk: a teacher run once serves any number of students.

Three kinds: `exact`, h_t itself; `senses`, the ids and weights of a few senses near it; `logits`, the most likely next
tokens. Students need not have the teacher's trunk. Where the objective is CE alone, none is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sensedict.errors import ConfigurationError, Corrupt, InvalidInput, reason
from sensedict.paths import write_whole
from sensedict_trainer.distil import activations, sense_ids
from sensedict_trainer.distil.activations import text_key, to_states, width_of
from sensedict_trainer.distil.head import Head
from sensedict_trainer.distil.packing import passes
from sensedict_trainer.distil.rows import Bytes, Rows, build_rows, manifest_key, open_rows
from sensedict_trainer.distil.terms.term import StateTerm
from sensedict_trainer.distil.trunk import NoTeacher
from sensedict_trainer.teacher import FrozenHead, check_identity
from sensedict_trainer.text import TokenWindow, pad_windows

if TYPE_CHECKING:
    from sensedict.source import SenseSource
    from sensedict_trainer.distil.recipe import Recipe
    from sensedict_trainer.teacher import Teacher

Kind = Literal["exact", "senses", "logits"]
_SENSES = "senses.safetensors"
_SEARCHED = 65_536  # senses fetched at once


@dataclass(frozen=True)
class TopLogits:
    """A head that makes logits of the most likely tokens: what is left of the probability is spread over the others.

    Rows are k tokens and then their k values log p_t, as floats: a float32 holds every token's number.
    """

    vocabulary_size: int
    plain: bool = True

    def product(self, hidden: Tensor) -> Tensor:
        """(c, V) log-probabilities of rows (c, 2 · k)."""
        tokens, values = hidden.float().chunk(2, dim=1)
        others = self.vocabulary_size - tokens.shape[1]
        left = (1 - values.exp().sum(dim=1, keepdim=True)).clamp(min=1e-6) / max(others, 1)
        whole = left.log().expand(-1, self.vocabulary_size).clone()
        return whole.scatter_(1, tokens.long(), values)

    def shape(self, product: Tensor) -> Tensor:
        """The product itself."""
        return product


class StoredStates:
    """A teacher's states of some text, read from a folder in place of running it.

    Attributes:
        kind: see above; head: makes the teacher's logits of what `of` gives.
    """

    def __init__(self, kind: Kind, rows: Rows, teacher: Teacher, senses: Tensor | None) -> None:
        self.kind, self._rows, self._teacher, self._senses = kind, rows, teacher, senses
        self.head: Head = FrozenHead(teacher.model) if kind != "logits" else TopLogits(teacher.vocabulary_size)

    def of(self, window: TokenWindow) -> Tensor:
        """(T, D) h_t or the mixture that stands for it; of `logits` (T, 2 · k) for the head.

        Raises:
            Corrupt: the file's bytes are not what was written.
        """
        stored = torch.from_numpy(np.array(self._rows.of(window))).to(self._teacher.device)
        if self.kind == "exact":
            return to_states(stored, self._teacher.dim).to(self._teacher.dtype)
        if self._senses is not None:
            mixed = sense_ids.mixture(*sense_ids.from_stored(stored), self._senses)
            return mixed.to(self._teacher.dtype)
        k = stored.shape[1] // 6
        tokens = stored[:, : 4 * k].contiguous().view(torch.int32)
        values = stored[:, 4 * k :].contiguous().view(torch.float16)
        return torch.cat([tokens.float(), values.float()], dim=1)


def build_teacher_states(
    folder: Path,
    teacher: Teacher,
    windows: Sequence[TokenWindow],
    kind: Kind,
    count: int = 0,
    source: SenseSource | None = None,
    at_once: int | None = None,
) -> StoredStates:
    """Run the teacher over the text and keep what the kind keeps; what is there already is kept.

    Args:
        count: senses or tokens kept of a position; not used by `exact`.
        source: the dictionary, for `senses`.
        at_once: most windows of a pass.

    Raises:
        InvalidInput: more senses or tokens than there are.
        Mismatch: the dictionary is another teacher's.
        ConfigurationError: the folder holds other states, or has no room for them.
    """
    count = 0 if kind == "exact" else count
    table: Tensor | None = None
    key: dict[str, Any] = {"kind": kind}
    if kind == "senses":
        if source is None:
            raise ConfigurationError("teacher states as senses need a dictionary: name one")
        check_identity(teacher, source.identity)
        _check_count(count, source.identity.senses, "senses")
        table = _all_senses(source)
        key |= {"dictionary": source.identity.content_hash, "senses": _hash(save({"senses": table}))}
    elif kind == "logits":
        _check_count(count, teacher.vocabulary_size, "tokens")
    width = {"exact": width_of(teacher.dim), "senses": sense_ids.bytes_of(count), "logits": 6 * count}[kind]
    whole = {**text_key(teacher, windows), **key, "count": count, "width": width, "format": activations.FORMAT}
    encode = _encoder(kind, teacher, count, table)

    @torch.inference_mode()
    def make(group: Sequence[TokenWindow]) -> list[Bytes]:
        teacher.model.eval()
        made = []
        for some in passes(group, at_once):
            hidden = teacher.hidden_states(*pad_windows(some, teacher.device))
            made += [encode(hidden[row, : len(window.ids)]).cpu().numpy() for row, window in enumerate(some)]
        return made

    rows = build_rows(folder, whole, windows, width, make, f"teacher states ({kind})")
    if table is not None and not _is_whole(folder / _SENSES, key["senses"]):
        write_whole(folder / _SENSES, save({"senses": table}))
    return StoredStates(kind, rows, teacher, None if table is None else table.to(teacher.device))


def open_teacher_states(folder: Path, teacher: Teacher, windows: Sequence[TokenWindow]) -> StoredStates:
    """The teacher's states in a folder.

    Raises:
        ConfigurationError: there are none, they are not finished, or of another teacher or text.
        Corrupt: a file is damaged.
    """
    key = _key(folder)
    # How the teacher ran is the folder's business: its states serve students of any dtype.
    wanted = {**key, **text_key(teacher, windows), "dtype": key["dtype"]}
    rows = open_rows(folder, wanted, windows, int(key["width"]))
    if rows is None:
        raise ConfigurationError(f"the teacher states in {folder} are not finished: run their command again")
    return StoredStates(key["kind"], rows, teacher, _read_senses(folder, key, teacher))


def known_states(
    recipe: Recipe, teacher: Teacher, windows: Sequence[TokenWindow], folder: Path | None
) -> StoredStates | NoTeacher | None:
    """What stands for the teacher's last states in a run; None where the teacher gives them.

    Args:
        folder: of stored states; None for a run without.

    Raises:
        ConfigurationError, Corrupt: as `open_teacher_states`; or logits, where the objective compares hidden states.
    """
    if folder is None:
        return None if recipe.reads_teacher else NoTeacher(teacher)
    check_states(folder, recipe)
    return open_teacher_states(folder, teacher, windows)


def check_states(folder: Path, recipe: Recipe) -> None:
    """Let pass a folder that has teacher states which a recipe can use, as far as it is known without the teacher.

    Raises:
        ConfigurationError: it has none, or logits where the objective compares hidden states.
        Corrupt: its manifest is damaged.
    """
    if _key(folder)["kind"] == "logits" and any(isinstance(term, StateTerm) for term in recipe.active.values()):
        raise ConfigurationError(
            f"{folder} holds logits, and {recipe.objective} compares hidden states: use states of the kind senses or "
            "exact, or an objective of ce and kl"
        )


def _key(folder: Path) -> dict[str, Any]:
    key = manifest_key(folder)
    if key is None or "kind" not in key:
        raise ConfigurationError(f"{folder} holds no teacher states: make them with `sensedict teacher states`")
    return key


def _encoder(kind: Kind, teacher: Teacher, count: int, table: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Of (T, D) hidden states the (T, width) bytes."""
    senses = None if table is None else table.to(teacher.device).float()

    def to_senses(hidden: Tensor) -> Tensor:
        assert senses is not None
        return sense_ids.to_stored(*sense_ids.nearest_mixture(hidden, senses, count))

    def to_logits(hidden: Tensor) -> Tensor:
        values, tokens = torch.log_softmax(teacher.head(hidden).float(), dim=-1).topk(count, dim=1)
        return torch.cat([tokens.to(torch.int32).view(torch.uint8), values.half().view(torch.uint8)], dim=1)

    return {"exact": activations.to_stored, "senses": to_senses, "logits": to_logits}[kind]


def _all_senses(source: SenseSource) -> Tensor:
    """(N, D) float16."""
    starts = range(0, source.identity.senses, _SEARCHED)
    parts = [source.get_senses(np.arange(at, min(at + _SEARCHED, source.identity.senses))) for at in starts]
    return torch.from_numpy(np.concatenate(parts))


def _read_senses(folder: Path, key: Mapping[str, Any], teacher: Teacher) -> Tensor | None:
    if key["kind"] != "senses":
        return None
    path = folder / _SENSES
    try:
        content = path.read_bytes()
        if _hash(content) != key["senses"]:
            raise ValueError("its sha256 is not the manifest's")
        senses: Tensor = load(content)["senses"]
    except (OSError, ValueError, SafetensorError) as error:
        raise Corrupt(f"{path} is damaged ({reason(error)}): run the command that made {folder} again") from error
    return senses.to(teacher.device)


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and _hash(path.read_bytes()) == sha256


def _check_count(count: int, most: int, what: str) -> None:
    if not 1 <= count <= most:
        raise InvalidInput(f"{count} {what} of a position cannot be kept: from 1 to {most:,}")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
