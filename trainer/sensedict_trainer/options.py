"""Options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sensedict.errors import ConfigurationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sensedict.client import SenseClient
    from sensedict.snapshot import Snapshot
    from sensedict.source import Identity

DTYPES = ("float32", "bfloat16", "float16")  # that a teacher can be loaded in

Command = TypeVar("Command", bound=Callable[..., Any])


def _one_device(_context: click.Context, _option: click.Parameter, device: str) -> str:
    if device == "auto":
        raise click.BadParameter("a student is trained on one device: name it, as cuda or cuda:1")
    return device


_DICTIONARY = (
    click.option("--dictionary", metavar="NAME", help="name@version or name@alias, asked of --server."),
    click.option(
        "--server", metavar="URL", default="http://127.0.0.1:8000", show_default=True, help="The service's root."
    ),
    click.option(
        "--snapshot",
        type=click.Path(file_okay=False, path_type=Path),
        help="A dictionary's file set, in place of a service.",
    ),
    click.option("--patience", default=300.0, show_default=True, help="Seconds to wait for a service that is away."),
)
_RUN = (
    click.option(
        "--dtype",
        default="float32",
        show_default=True,
        type=click.Choice(DTYPES),
        help="Of the teacher's weights and the student's.",
    ),
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        callback=_one_device,
        help="Where both run, e.g. cuda.",
    ),
    click.option(
        "--cache-mb", default=256, show_default=True, type=click.IntRange(1), help="Sense vectors on the device."
    ),
    click.option("--micro-batch", type=click.IntRange(1), help="Most windows of any forward pass.  [default: a batch]"),
    click.option(
        "--activations",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of a cache of what is frozen, for all runs over this text; it is made where it is missing.",
    ),
    click.option("--fresh", is_flag=True, help="Throw away what an earlier run left in the folder."),
)

setting_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting in place of the recipe's, as lr=1e-4 or sense.margin=0.5. Repeatable.",
)


def dictionary_options(command: Command) -> Command:
    """Give a command `dictionary`, `server`, `snapshot` and `patience`: what `open_source` takes."""
    return add_options(_DICTIONARY, command)


def run_options(command: Command) -> Command:
    """Give a command `dtype`, `device`, `cache_mb`, `micro_batch`, `activations` and `fresh`."""
    return add_options(_RUN, command)


def open_source(
    dictionary: str | None, server: str, snapshot: Path | None, patience: float
) -> AbstractContextManager[Snapshot | SenseClient]:
    """The dictionary that the options name: a file set where one is given, else a service's.

    Raises:
        ConfigurationError: neither is named, or both; or a patience below 0.
    """
    from sensedict.client import SenseClient
    from sensedict.snapshot import Snapshot

    if (dictionary is None) == (snapshot is None):
        raise ConfigurationError("name the dictionary: either --dictionary (and --server), or --snapshot FOLDER")
    if not patience >= 0:  # no number would be waited for without end
        raise ConfigurationError(f"patience is {patience:g} and must be 0 seconds or more")
    if snapshot is not None:
        return Snapshot.open(snapshot, verify=True)  # a run on damaged senses would not be noticed
    return SenseClient(server, str(dictionary), patience=patience)


def describe_senses(identity: Identity) -> str:
    """One line: which dictionary a run has, and of what its senses are."""
    return (
        f"dictionary {identity.name}@{identity.version}: {identity.senses:,} senses, "
        f"state point {identity.state_point}, key {identity.key_policy}"
    )


def own_device(device: str) -> str:
    """The device of this process: `cuda` is one of several where several processes were started on this machine.

    >>> own_device("cpu")
    'cpu'
    """
    place = os.environ.get("LOCAL_RANK")
    return f"{device}:{place}" if place is not None and device in ("cuda", "xpu", "npu") else device


@contextmanager
def enough_memory(device: str, micro_batch: int, cache_mb: int, window: int) -> Iterator[None]:
    """Say what to lower where the device has not enough memory for what is done inside.

    Args:
        micro_batch, cache_mb, window: as they are.

    Raises:
        ConfigurationError: it has not.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"{device} has not enough memory: lower --micro-batch (now {micro_batch} windows), --cache-mb (now "
            f"{cache_mb}), or the setting window (now {window}); --dtype bfloat16 halves weights ({reason})"
        ) from error


def is_first() -> bool:
    """Whether this process is the one of a run that tells of it, known before the others are."""
    return os.environ.get("RANK", "0") == "0"


def add_options(options: Sequence[Callable[[Any], Any]], command: Command) -> Command:
    """Give a command these options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def parse_seeds(text: str) -> tuple[int, ...]:
    """Different whole numbers with commas. Raises `BadParameter` when the text is something else."""
    parts = [part.strip() for part in text.split(",")]
    good = all(part.isascii() and part.isdecimal() and len(part) <= 9 for part in parts)
    seeds = tuple(map(int, parts)) if good else ()
    if not seeds or len(set(seeds)) < len(seeds):
        raise click.BadParameter(f"{text!r}: different whole numbers with commas, as 0,1,2", param_hint="--seeds")
    return seeds
