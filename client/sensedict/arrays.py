"""Arrays as bytes: the safetensors format, written in a fixed order and read without a copy.

The format's own library copies every tensor when it reads into numpy, and promises no order when it writes; a published
dictionary's hash needs one, and a bulk answer should become arrays where it lies. `tests/wire` holds the two equal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import InvalidInput, MalformedBody

Tensors = dict[str, NDArray[Any]]
Metadata = dict[str, str]

MAX_HEADER_BYTES = 16 * 2**20  # room for an error on every item of the largest request
_MOST_DIMENSIONS = 32  # of an array, in every version of numpy
_METADATA = "__metadata__"
_DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "I64": "<i8",
        "I32": "<i4",
        "I16": "<i2",
        "I8": "i1",
        "U64": "<u8",
        "U32": "<u4",
        "U16": "<u2",
        "U8": "u1",
    }.items()
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_to_json = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` makes an encoder anew each time
_quoted = lru_cache(maxsize=256)(_to_json)
# The header that `encode` writes for one list of numbers, which most requests are. Anything else is parsed.
_ONE_LIST = re.compile(
    rb'\{"([A-Za-z0-9]\w{0,79})":\{"dtype":"(\w{2,3})",'
    rb'"shape":\[([1-9]\d{0,14})\],"data_offsets":\[0,([1-9]\d{0,15})\]\}\} *'
)


def encode(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The tensors as the bytes of a safetensors file; the same arguments always give the same bytes.

    Tensors with wider items stand first and the rest in the given order, so that each one is aligned where it lies.

    Args:
        tensors: arrays of floats or integers of 1 to 8 bytes, of any shape.
        metadata: texts that ride in the header.

    Raises:
        InvalidInput: an array's dtype has no place in the format.

    >>> tensors, metadata = decode(encode({"ids": np.array([3, 1], dtype=np.uint32)}, {"unit": "sense"}))
    >>> tensors["ids"].tolist(), metadata
    ([3, 1], {'unit': 'sense'})
    """
    header, found = _in_order(tensors, metadata)
    return b"".join([header, *(block.data for block in found)])


def blocks(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> list[memoryview]:
    """The bytes of `encode` one after another: a header, then the memory of each tensor, which is not copied."""
    header, found = _in_order(tensors, metadata)
    return [memoryview(header), *(block.reshape(-1).view(np.uint8).data for block in found)]


def _in_order(
    tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None
) -> tuple[bytes, list[NDArray[Any]]]:
    """The header, and the tensors as the file has them."""
    order, template = header_template(tuple([(name, tensor.dtype, tensor.ndim) for name, tensor in tensors.items()]))
    found = [_plain(tensors[name]) for name in order]
    numbers: list[int] = []
    end = 0
    for block in found:
        begin, end = end, end + block.nbytes
        numbers += (*block.shape, begin, end)
    return finished_header(template % tuple(numbers), metadata), found


@lru_cache(maxsize=256)
def header_template(kinds: tuple[tuple[str, np.dtype[Any], int], ...]) -> tuple[list[str], str]:
    """The order of tensors of these names, dtypes and numbers of dimensions, and their header for `%`."""
    widest_first = sorted(kinds, key=lambda kind: -kind[1].itemsize)
    return [kind[0] for kind in widest_first], ",".join([_entry(*kind) for kind in widest_first])


def _entry(name: str, dtype: np.dtype[Any], ndim: int) -> str:
    """What the header says of a tensor, for `%` with its shape, begin and end."""
    sizes = ",".join(["%d"] * ndim)
    quoted = _quoted(name).replace("%", "%%")
    return f'{quoted}:{{"dtype":"{_NAMES[_little(name, dtype)]}","shape":[{sizes}],"data_offsets":[%d,%d]}}'


def finished_header(entries: str, metadata: Mapping[str, str] | None) -> bytes:
    """What stands before the tensors: the entries of `header_template` with their numbers, and the metadata."""
    if metadata is not None:
        said = f"{_quoted(_METADATA)}:{_to_json(dict(metadata)) if metadata else '{}'}"
        entries = f"{said},{entries}" if entries else said
    text = f"{{{entries}}}".encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _plain(tensor: NDArray[Any]) -> NDArray[Any]:
    if tensor.dtype in _NAMES and tensor.flags.c_contiguous:
        return tensor
    return np.asarray(tensor, dtype=tensor.dtype.newbyteorder("<"), order="C")


def head(
    shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """What stands before the tensors in a file: for whoever writes them as they come, each where the one before ends.

    Args:
        shapes: dtype and shape of each tensor in the order of the file.

    Raises:
        InvalidInput: a dtype has no place in the format.
    """
    entries = []
    end = 0
    for name, (dtype, shape) in shapes.items():
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        entries.append(_entry(name, dtype, len(shape)) % (*shape, begin, end))
    return finished_header(",".join(entries), metadata)


def _little(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    little = dtype.newbyteorder("<")
    if little not in _NAMES or name == _METADATA:
        raise InvalidInput(f"tensor {name!r} of dtype {dtype} cannot be written as safetensors")
    return little


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a file: its bytes are `begin .. end` of it."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def header_bytes(first: bytes) -> int:
    """The length of what stands before the tensors, read from a file's first 8 bytes.

    Raises:
        MalformedBody: there are fewer, or the header is longer than any that is written.
    """
    length = int.from_bytes(first[:8], "little")
    if len(first) < 8 or length > MAX_HEADER_BYTES:
        raise MalformedBody(f"not safetensors: it begins with {first[:8]!r}")
    return 8 + length


def layout(head: bytes) -> dict[str, Place]:
    """Where each tensor lies, so that a part of one can be read without the rest.

    Args:
        head: the first `header_bytes` of a file.

    Raises:
        MalformedBody: the header is not one of the format.
    """
    header = _parse_header(head[8:])
    header.pop(_METADATA, None)
    found = {name: _place(name, entry) for name, entry in header.items()}
    return {
        name: Place(dtype, tuple(shape), len(head) + begin, len(head) + end)
        for name, (dtype, shape, begin, end) in found.items()
    }


def decode(data: bytes | bytearray | memoryview | mmap) -> tuple[Tensors, Metadata]:
    """The tensors and metadata of a safetensors file, as views of `data`: nothing is copied.

    The arrays may be written to where `data` may be.

    Raises:
        MalformedBody: anything about the bytes that the format does not allow; says what.
    """
    view = memoryview(data).cast("B")
    if len(view) < 8:
        raise MalformedBody(f"not safetensors: {len(view)} bytes, the length of the header alone takes 8")
    length = int.from_bytes(view[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(view) - 8):
        raise MalformedBody(
            f"not safetensors: a header of {length} bytes is announced, at most "
            f"{min(MAX_HEADER_BYTES, len(view) - 8)} can be here"
        )
    text = bytes(view[8 : 8 + length])
    one = _ONE_LIST.fullmatch(text)
    if one is not None:
        found = _one_list(view[8 + length :], *one.groups())
        if found is not None:
            return found, {}
    header = _parse_header(text)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise MalformedBody("safetensors: `__metadata__` is not an object of texts")
    body = view[8 + length :]
    places = {name: _place(name, entry) for name, entry in header.items()}
    _check_contiguous(places, len(body))
    return {name: _view(name, body, *place) for name, place in places.items()}, metadata


def _one_list(body: memoryview, name: bytes, kind: bytes, size: bytes, end: bytes) -> Tensors | None:
    """The list that fills the body; None where it does not, or is of no known kind."""
    dtype = _DTYPES.get(kind.decode())
    if dtype is None or not int(size) * dtype.itemsize == int(end) == len(body):
        return None
    return {name.decode(): np.frombuffer(body, dtype)}


def _parse_header(text: bytes) -> dict[str, Any]:
    try:
        header = _from_json(text.decode())
    except (ValueError, RecursionError) as error:  # ValueError: bad UTF-8, bad JSON, an integer of too many digits
        raise MalformedBody(f"safetensors: the header is not JSON ({str(error)[:200]})") from error
    if not text.startswith(b"{") or not isinstance(header, dict):
        raise MalformedBody("safetensors: the header is not a JSON object")
    return header


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedBody("safetensors: a name stands twice in the header")
    return found


_from_json = json.JSONDecoder(object_pairs_hook=_object).decode


def _place(name: str, entry: Any) -> tuple[np.dtype[Any], list[int], int, int]:
    """dtype, shape, begin and end of a tensor, each checked for itself."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise MalformedBody(f"safetensors: tensor {name[:80]!r} needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise MalformedBody(
            f"safetensors: tensor {name[:80]!r} has the dtype {str(dtype)[:40]!r}, known are {', '.join(_DTYPES)}"
        )
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        raise MalformedBody(f"safetensors: shape and two data_offsets of tensor {name[:80]!r} must be whole numbers")
    if len(shape) > _MOST_DIMENSIONS:  # before the product, which takes minutes for a hundred thousand large numbers
        raise MalformedBody(f"safetensors: tensor {name[:80]!r} has an unusable shape ({len(shape)} dimensions)")
    begin, end = offsets
    if end - begin != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise MalformedBody(f"safetensors: tensor {name[:80]!r} of shape {shape!s:.80} does not fill its data_offsets")
    return _DTYPES[dtype], shape, begin, end


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _check_contiguous(places: Mapping[str, tuple[np.dtype[Any], list[int], int, int]], size: int) -> None:
    """Tensors fill the body from its first byte to its last, without overlap or gap."""
    reached = 0
    for begin, end, name in sorted((begin, end, name) for name, (_, _, begin, end) in places.items()):
        if begin != reached:
            raise MalformedBody(f"safetensors: tensor {name[:80]!r} begins at byte {begin}, expected {reached}")
        reached = end
    if reached != size:
        raise MalformedBody(f"safetensors: the tensors end at byte {reached}, the body at {size}")


def _view(name: str, body: memoryview, dtype: np.dtype[Any], shape: list[int], begin: int, end: int) -> NDArray[Any]:
    try:
        # frombuffer takes no empty buffer, and an empty tensor at the very end would have one
        flat = np.frombuffer(body[begin:end], dtype) if end > begin else np.empty(0, dtype)
        return flat.reshape(shape)
    except ValueError as error:  # more dimensions, or larger ones beside a zero, than numpy has room for
        raise MalformedBody(f"safetensors: tensor {name[:80]!r} has an unusable shape ({error})") from error


def tensor(
    tensors: Mapping[str, NDArray[Any]], name: str, dtypes: Sequence[type[np.generic]], ndim: int
) -> NDArray[Any]:
    """The tensor of that name, of one of the dtypes and of `ndim` dimensions.

    Raises:
        MalformedBody: it is absent or another; says what was expected.
    """
    found = tensors.get(name)
    if found is None:
        raise MalformedBody(f"the tensor {name!r} is missing; found {sorted(tensors)!s:.200}")
    if found.dtype.type not in dtypes or found.ndim != ndim:
        raise MalformedBody(
            f"the tensor {name!r} is {found.dtype} of {found.ndim} dimensions, expected "
            f"{' or '.join(str(np.dtype(dtype)) for dtype in dtypes)} of {ndim}"
        )
    return found
