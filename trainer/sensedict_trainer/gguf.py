"""GGUF files, dequantized once into a plain folder."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

from sensedict.errors import ConfigurationError, reason
from sensedict.fileset import hash_file
from sensedict_trainer.teacher import DTYPES
from sensedict_trainer.work import readable

ORIGIN = "sensedict-origin.json"  # what a converted folder says of itself; the report shows it


def convert_gguf(gguf: Path, folder: Path, dtype: str) -> bool:
    """Write a GGUF file's model and tokenizer as a plain safetensors folder, dequantized; whole or not at all.

    Args:
        gguf: the file.
        folder: where the model goes; a conversion of the same file and dtype that is already there is kept.
        dtype: of the weights written.

    Returns:
        Whether anything was written.

    Raises:
        ConfigurationError: no GGUF file, an unknown dtype, or another model already in the folder.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if dtype not in DTYPES:
        raise ConfigurationError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    with gguf.open("rb") as start:
        if start.read(4) != b"GGUF":
            raise ConfigurationError(f"{gguf} is no GGUF file")
    origin = {"gguf": gguf.name, "sha256": hash_file(gguf).sha256, "dtype": dtype, "note": "GGUF, dequantized"}
    if folder.exists():
        with contextlib.suppress(OSError, ValueError):
            if json.loads((folder / ORIGIN).read_text()) == origin:
                return False
        raise ConfigurationError(
            f"{folder} is there already and holds something else; name another folder or remove it"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
        loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=DTYPES[dtype], trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{gguf} cannot be loaded: {reason(error)}") from error
    # An object loaded from GGUF refuses to be saved: its config says that it is quantized. A new one from a clean
    # config takes the same weights.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype], trust_remote_code=False)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        plain.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        (scratch / ORIGIN).write_text(json.dumps(origin, indent=1))
        readable(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True
