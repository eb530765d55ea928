"""`preproc eval`: the scripts of eval_tasks under one name."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from preproc.extras import from_extra, importing

_TASKS = (
    "restoration",
    "icdar2013",
    "wider",
    "own_faces",
    "own_text",
    "rendered_pages",
    "report",
)


def evaluate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Which evaluation to run.")],
    args: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTIONS]...", help="Options of the task.")
    ] = None,
) -> None:
    """Measure on public data sets, as the papers do, or on pictures of your own.

    **Tasks**

        restoration      PSNR and SSIM on Set5, Set14 and BSD100, beside the papers' rows

        icdar2013        words of ICDAR2013 that an OCR engine reads right, before and after

        wider            faces of WIDER FACE val that MTCNN finds, before and after

        own_faces        faces in pictures of your own that MTCNN finds again once they are small

        own_text         words in pictures of your own that an OCR engine reads again, likewise

        rendered_pages   makes pages whose words are known, for own_text to read

        report           weights/README.md: the shipped weights beside the papers' rows, with crops

    **Examples**

        preproc eval restoration --help

        preproc eval restoration --data data/ --set Set5 --jpeg 10 20 40 --model cajnn

        preproc eval icdar2013 --data icdar2013/ --enhance --reduce 2 4 --jpeg 40
    """
    if task not in _TASKS:
        raise typer.BadParameter(f"There is no task {task!r}; choose one of {', '.join(_TASKS)}.")
    with importing(f"`preproc eval {task}`", from_extra("eval")):
        code = import_module(f"eval_tasks.{task}").main(args or [])
    raise typer.Exit(code or 0)
