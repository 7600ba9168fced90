"""A teacher's folder: what must be in it, its hash, and where a name of the hub was downloaded to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sensedict.errors import ConfigurationError

# Of a config, what says nothing about what the model computes.
_CONFIG_NOISE = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache")


def weights_hash(folder: Path) -> str:
    """sha256 over a model folder's config and weights as they are stored: names, shapes, dtypes and bytes.

    So it is the same whatever dtype they are loaded in and whatever version of `transformers` loads them.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    stated = {key: value for key, value in config.items() if key not in _CONFIG_NOISE}
    handles: list[Any] = [safe_open(path, framework="pt") for path in _weight_files(folder)]
    where = {name: handle for handle in handles for name in handle.keys()}  # noqa: SIM118 - a handle is no mapping
    digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for name in sorted(where):
        weight = where[name].get_tensor(name)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint_of(name_or_folder: str) -> str:
    """The fingerprint of a teacher that need not be loaded.

    Raises:
        ConfigurationError: no such folder or name, or no weights in it.
    """
    folder = folder_of(name_or_folder)
    check_folder(folder)
    return weights_hash(folder)


def _weight_files(folder: Path) -> list[Path]:
    """The files that `transformers` loads: the shards of an index, or the one file."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    try:
        return sorted({folder / name for name in json.loads(index.read_text("utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{index} is damaged: it has no map of weights to files") from error


def folder_of(name_or_folder: str, weights: bool = True) -> Path:
    """The folder itself, or the one that a hub name was downloaded to, with its weights or without."""
    from huggingface_hub import snapshot_download

    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    if folder.suffix == ".gguf":
        raise ConfigurationError(f"convert it once with `sensedict teacher convert {folder} FOLDER`")
    if folder.is_absolute() or name_or_folder.startswith(("./", "../")) or name_or_folder.count("/") > 1:
        raise ConfigurationError(f"there is no folder {name_or_folder}")
    wanted = ["*.json", "*.txt", "*.model", "README.md", *(["model*.safetensors"] if weights else [])]
    try:
        return Path(snapshot_download(name_or_folder, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"there is no folder {name_or_folder!r}, and it cannot be had from the hub: {error}"
        ) from error


def check_folder(folder: Path) -> None:
    """Let pass a folder that has all that a teacher is loaded from.

    Raises:
        ConfigurationError: it lacks config, weights or tokenizer, or holds them in a form that is not loaded.
    """
    if not (folder / "config.json").is_file():
        ggufs = sorted(folder.glob("*.gguf"))
        if ggufs:
            raise ConfigurationError(
                f"{folder} holds a GGUF file: convert it once with `sensedict teacher convert {ggufs[0]} FOLDER`"
            )
        raise ConfigurationError(f"{folder} is no model folder: it has no config.json")
    if not all(path.is_file() for path in _weight_files(folder)):
        pickles = [p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"))]
        more = f"; {pickles[0]} is a pickle, which is never loaded" if pickles else ""
        raise ConfigurationError(f"{folder} has no weights: model.safetensors or all shards of its index needed{more}")
    if not (folder / "tokenizer.json").is_file() and not any(folder.glob("tokenizer*")):
        raise ConfigurationError(f"{folder} has no tokenizer: tokenizer.json is missing")
