"""Files inside the `.tar.xz` archives of data sets, read where they are: nothing is unpacked to the disk."""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sensedict.errors import InvalidInput, reason


def read_files(archive: Path, names: Sequence[str]) -> list[str]:
    """The texts of those files of an archive, in the order of the names.

    Raises:
        InvalidInput: the archive or a file in it is missing, or cannot be read; names it.
    """
    found = read_all(archive, lambda name: name in names)
    for name in names:
        if name not in found:
            raise InvalidInput(f"{archive} has no file {name}: it should hold the data set as its authors ship it")
    return [found[name] for name in names]


def read_all(archive: Path, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Name and text of every file of an archive whose name is wanted, in the archive's order.

    Raises:
        InvalidInput: the archive is missing, damaged, or a file in it is not UTF-8; names it.
    """
    found: dict[str, str] = {}
    name = ""
    try:
        with tarfile.open(archive, "r:xz") as opened:
            for member in opened:
                name = member.name
                if member.isfile() and wanted(name):
                    stream = opened.extractfile(member)
                    assert stream is not None
                    found[name] = stream.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{archive}: {name} is not UTF-8 ({error})") from error
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise InvalidInput(f"cannot read the archive {archive}: {reason(error)}") from error
    return found
