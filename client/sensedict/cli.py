"""The `sensedict` command. Its sub-commands live with the code they run and load only when they are called."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any, NamedTuple

import click

from sensedict.errors import MissingExtra, SenseDictError


class _Command(NamedTuple):
    target: str  # module:attribute of a click command
    extras: str  # what `pip install 'sensedict[…]'` must have brought
    help: str  # one line, here so that `sensedict --help` imports nothing


COMMANDS = {
    "migrate": _Command("sensedict_server.commands:migrate", "server", "Bring the database's schema up to date."),
    "serve": _Command("sensedict_server.commands:serve", "server", "Serve dictionaries over HTTP."),
    "database": _Command(
        "sensedict_server.commands:database", "server", "Start, stop or look at the embedded PostgreSQL."
    ),
    "keys": _Command(
        "sensedict_server.keys_command:keys",
        "server",
        "Make, list or revoke the keys that callers of the service send.",
    ),
    "doctor": _Command(
        "sensedict_server.doctor.command:doctor", "server", "Look for the usual mistakes, and tell the fix for each."
    ),
    "files": _Command("sensedict_server.commands:files", "server", "Write, list or verify a dictionary's file set."),
    "snapshot": _Command(
        "sensedict_server.snapshots.command:snapshot", "server", "Export, import or verify a dictionary as one file."
    ),
    "dictionary": _Command(
        "sensedict_server.dictionary_command:dictionary",
        "server",
        "List, publish, alias, deprecate or delete versions of dictionaries.",
    ),
    "lexicon": _Command(
        "sensedict_server.build.lexicon_command:lexicon",
        "server",
        "Load, list, look at, count, judge or delete relations.",
    ),
    "export": _Command(
        "sensedict_server.export_command:export", "server", "Write the analysts' views as Parquet files."
    ),
    "teacher": _Command(
        "sensedict_trainer.teacher_command:teacher", "trainer", "Convert or look at a teacher's weights."
    ),
    "build": _Command(
        "sensedict_server.build.build_command:build", "server,trainer", "Build a dictionary from a teacher and text."
    ),
    "jobs": _Command("sensedict_server.build.jobs_command:jobs", "server", "List, look at, cancel or remove builds."),
    "worker": _Command(
        "sensedict_server.build.worker_command:worker", "server,trainer", "Work for the builds of the database."
    ),
    "train": _Command(
        "sensedict_trainer.distil.train_command:train", "trainer", "Distil a student, with the dictionary or without."
    ),
    "compare": _Command(
        "sensedict_trainer.compare_command:compare", "trainer", "Train KD, DSKD and a control, and write a report."
    ),
    "eval-senses": _Command(
        "sensedict_trainer.sense_quality.command:eval_senses",
        "trainer",
        "Measure a dictionary's senses as senses of words.",
    ),
    "experiment": _Command(
        "sensedict_trainer.experiments.command:experiment",
        "trainer",
        "Run a table or a figure of the paper, or a comparison past it.",
    ),
    "grid": _Command(
        "sensedict_trainer.experiments.grid_command:grid",
        "trainer",
        "Search the settings of an experiment's conditions on a part of the training text.",
    ),
    "evaluate": _Command(
        "sensedict_trainer.tasks.evaluate_command:evaluate", "trainer", "Score a model in tasks, question by question."
    ),
    "tasks": _Command(
        "sensedict_trainer.tasks.tasks_command:tasks", "trainer", "Make training text of the tasks' train splits."
    ),
    "diff": _Command(
        "sensedict_server.build.diff_command:diff",
        "server,trainer",
        "Match the senses of two versions of a dictionary.",
    ),
    "query": _Command("sensedict.query:query", "", "Ask a service for dictionaries, senses, relations and builds."),
}


# Commands that keep what was made, and find it when they are started again.
_RESUMED = ("build", "train", "compare", "experiment", "grid")
_INTERRUPTED = 130  # exit status


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as missing:
            raise _without_extra(cmd_name, missing) from missing
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], COMMANDS, 1)
        if near and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:  # commands import torch when they run, so that their help is quick
            raise _without_extra(ctx.invoked_subcommand or "", missing) from missing
        except KeyboardInterrupt:
            if ctx.invoked_subcommand not in _RESUMED:
                raise
            same = "the same command" + (" without --fresh" if "--fresh" in sys.argv else "")
            click.echo(f"stopped: {same} goes on where it was", err=True)
            sys.exit(_INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sensedict")
def cli() -> None:
    """A sense dictionary of a language model: build it, serve it, query it, and distil decoders with it."""


def main() -> None:
    """Run the command line; an error of ours or of the system is one line on stderr and exit status 1, no traceback."""
    try:
        cli()
    except SenseDictError as error:
        click.echo(f"sensedict: {error.detail}", err=True)
        sys.exit(1)
    except OSError as error:  # a file that cannot be written, a full disk
        click.echo(f"sensedict: {_reason(error)}", err=True)
        sys.exit(1)


def _without_extra(cmd_name: str, missing: ModuleNotFoundError) -> Exception:
    """What to say of a package that is not there; a module of ours that is missing is a fault, and stays one."""
    entry = COMMANDS.get(cmd_name)
    if entry is None or not entry.extras or (missing.name or "").startswith("sensedict"):
        return missing
    return MissingExtra(
        f"`sensedict {cmd_name}` needs the package {missing.name!r}: pip install 'sensedict[{entry.extras}]'"
    )


def _reason(error: OSError) -> str:
    """The file and what is wrong with it, in one line."""
    if error.filename is None or error.strerror is None:
        return (str(error) or type(error).__name__).splitlines()[0]
    return f"{error.filename}: {error.strerror}"
