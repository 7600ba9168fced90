"""Tokenizers without a model: a name, a folder, or a single file of any of the formats that models ship."""

from __future__ import annotations

import base64
import binascii
import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensedict.errors import ConfigurationError
from sensedict.paths import package_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_READS_SENTENCEPIECE = (5, 24)  # transformers before it cuts words of bare models in other ways
_XZ = b"\xfd7zXZ\x00"
# How text is cut before bytes are merged. A file of ranks does not say it; both are as their models have them.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BY_THREE_DIGITS = _WORDS + r"|\p{N}{1,3}" + _REST  # Llama 3, cl100k
_BY_DIGIT = _WORDS + r"|\p{N}" + _REST  # Qwen


def load_tokenizer(spec: str) -> PreTrainedTokenizerBase:
    """The tokenizer that `spec` names.

    Args:
        spec: a folder or a name for `transformers`; or a file, by itself or as .xz, or `package:NAME/FILE`: a
            tokenizer.json, a SentencePiece model, or tiktoken's ranks (base64 and a number a line). What a file is
            shows in its content, for two of the three are called tokenizer.model.

    Raises:
        ConfigurationError: no such file, folder or name, or a file that is none of these or damaged.
    """
    if spec.startswith("package:"):
        return _from_file(package_path(spec))
    path = Path(spec)
    if path.is_file():
        return _from_file(path)
    # A name on a hub has one slash at most.
    if not path.is_dir() and (path.is_absolute() or spec.startswith(("./", "../")) or spec.count("/") > 1):
        raise ConfigurationError(f"there is no file or folder {spec}")
    return _from_name(spec)


def _from_name(spec: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(spec, trust_remote_code=False)
    except Exception as error:  # the libraries raise all kinds, tokenizers a bare Exception
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"the tokenizer {spec!r} cannot be loaded: {type(error).__name__}: {reason}. Name a folder that holds "
            "tokenizer.json, a tokenizer's file, or a model's name"
        ) from error
    return tokenizer


def _from_file(path: Path) -> PreTrainedTokenizerBase:
    content = _content(path)
    if content.startswith(b"GGUF"):
        raise ConfigurationError(
            f"{path} is a GGUF file: convert it once with `sensedict teacher convert {path} FOLDER`"
        )
    if content.lstrip()[:1] == b"{":
        return _from_json(path, content)
    ranks = _ranks(path, content)
    return _from_sentencepiece(path, content) if ranks is None else _from_ranks(path, ranks)


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked where it is .xz."""
    content = path.read_bytes()
    if not content:
        raise ConfigurationError(f"{path} is empty: a tokenizer's file was expected")
    if not content.startswith(_XZ):
        return content
    try:
        return lzma.decompress(content)
    except lzma.LZMAError as error:
        raise ConfigurationError(f"{path} is damaged, or cut short: {error}") from error


def _from_json(path: Path, content: bytes) -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer

    try:
        text = content.decode("utf-8")
        backend = Tokenizer.from_str(text)
        unknown = _unknown_of(json.loads(text)["model"])
    except Exception as error:  # tokenizers raises a bare Exception
        raise ConfigurationError(f"{path} is no tokenizer.json: {error}") from error
    return _wrapped(backend, unknown)


def _unknown_of(model: Mapping[str, Any]) -> str | None:
    """The text of the token for what has no token; None where there is none."""
    at = model.get("unk_id")  # of a unigram model
    return model["vocab"][at][0] if at is not None else model.get("unk_token") or None


def _ranks(path: Path, content: bytes) -> dict[bytes, int] | None:
    """Bytes to rank of a file of ranks; None where it is none, by its first line.

    Raises:
        ConfigurationError: it begins as one and does not go on as one; names the line.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            if not ranks:
                return None
            raise ConfigurationError(f"{path}, line {number}: no base64 and number: the file is damaged") from error
    return ranks or None


def _from_ranks(path: Path, ranks: Mapping[bytes, int]) -> PreTrainedTokenizerBase:
    """A byte-level tokenizer, without its model's special tokens, which the file does not hold."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    if not all(bytes([byte]) in ranks for byte in range(256)):
        raise ConfigurationError(f"{path} lacks some of the 256 bytes: the file is cut short, or no byte-level one")
    # Cut digit by digit, no token can have two.
    longer = any(len(token) > 1 and token.isdigit() for token in ranks)
    converter = TikTokenConverter(vocab_file=str(path), pattern=_BY_THREE_DIGITS if longer else _BY_DIGIT)
    converter.load_tiktoken_bpe = lambda _: ranks  # its own reads the file with a package that is not needed for this
    return _wrapped(converter.converted(), None)


def _from_sentencepiece(path: Path, content: bytes) -> PreTrainedTokenizerBase:
    from transformers import __version__
    from transformers.convert_slow_tokenizer import SpmConverter, import_protobuf

    if tuple(int(part) for part in __version__.split(".")[:2]) < _READS_SENTENCEPIECE:
        raise ConfigurationError(
            f"{path}: to read a SentencePiece model takes transformers {'.'.join(map(str, _READS_SENTENCEPIECE))}, "
            f"{__version__} is installed; or name a folder that holds tokenizer.json"
        )
    proto = import_protobuf("for a SentencePiece model").ModelProto()
    try:
        proto.ParseFromString(content)
        pieces = [(piece.piece, piece.score) for piece in proto.pieces]
        bpe = proto.trainer_spec.model_type == proto.trainer_spec.BPE
        vocabulary = {piece: at for at, (piece, _) in enumerate(pieces)} if bpe else pieces
        backend = SpmConverter.build_tokenizer_from_spm_proto(proto, vocabulary) if pieces else None
    except Exception as error:  # protobuf and tokenizers each raise their own
        raise ConfigurationError(
            f"{path} is no tokenizer that is known here (tokenizer.json, SentencePiece, ranks), or is damaged: {error}"
        ) from error
    if backend is None:
        raise ConfigurationError(f"{path} is no tokenizer that is known here: it holds no pieces")
    return _wrapped(backend, proto.trainer_spec.unk_piece)


def _wrapped(backend: Any, unknown: str | None) -> PreTrainedTokenizerBase:
    from transformers import PreTrainedTokenizerFast

    named = {"unk_token": unknown} if unknown is not None and backend.token_to_id(unknown) is not None else {}
    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast(tokenizer_object=backend, **named)
    return tokenizer
