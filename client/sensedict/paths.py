"""Paths that a user types, and files that are written whole."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sensedict.errors import ConfigurationError


def package_path(spec: str) -> Path:
    """The path that a `package:NAME/FILE` names inside an installed package, or the plain path itself.

    The package is found, not imported (only those around it are): only its data is wanted.

    Raises:
        ConfigurationError: the package is not installed, or there is no such file.
    """
    path = Path(spec)
    if spec.startswith("package:"):
        name, _, rest = spec.removeprefix("package:").partition("/")
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # a package around it is missing, or no package; an empty name
            found = None
        if found is None or found.origin is None:
            raise ConfigurationError(f"{spec}: the package {name!r} is not installed")
        path = Path(found.origin).parent / rest
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    return path


def write_whole(path: Path, content: bytes | bytearray) -> None:
    """Write a file whole or not at all, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:  # a full disk does not say which file
        scratch.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
