"""Arrays that are too large for memory, in files without a name."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensedict.errors import ConfigurationError


def scratch_vectors(shape: tuple[int, ...], folder: Path | None) -> NDArray[np.float16]:
    """Room for float16 vectors in a file of the folder; in memory where there is none.

    The file has no name: its room is free again when the array is gone, or the process, killed or not.

    Raises:
        ConfigurationError: the folder's disk has no room for it.
    """
    size = math.prod(shape) * 2
    if folder is None or not size:
        return np.empty(shape, dtype=np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and a dead process later
        except OSError as error:
            raise ConfigurationError(
                f"{folder} cannot hold {size:,} bytes of vectors ({error.strerror}): make room"
            ) from error
        return np.asarray(np.memmap(file, dtype=np.float16, mode="r+", shape=shape))
