"""The command line: parses, calls, reports. Torch is imported once a command needs it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from preproc import __version__
from preproc.cli import (
    bench_command,
    enhance_command,
    eval_command,
    models_command,
    training_commands,
)
from preproc.console import tell_failure
from preproc.errors import PreprocError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""See better before you read or detect.

preproc removes compression artifacts from small, JPEG-compressed pictures and enlarges them in one
pass, so that OCR and detectors (and people) see more in them.

**Start here**

    preproc enhance photo.jpg -o better.png      one picture, four times larger

    preproc enhance photos/ -o enhanced/         a folder, with its subfolders

    preproc models                               what there is to choose from

Each command explains itself: `preproc enhance --help`.
""",
)
app.command(no_args_is_help=True)(enhance_command.enhance)
app.command()(models_command.models)
app.command(no_args_is_help=True)(training_commands.train)
app.command(no_args_is_help=True)(training_commands.export)
app.command()(bench_command.bench)
app.command(
    "eval",
    no_args_is_help=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)(eval_command.evaluate)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"preproc {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; an error made for users is one red sentence and exit code 1."""
    try:
        # Patterns are ours to expand, with folders kept, also where typer would do it.
        app(windows_expand_args=False)
    except (PreprocError, OSError) as error:
        sys.exit(tell_failure(error))
