"""How long `preproc enhance` takes until the first picture is there, step by step.

    python -m benchmarks.startup --runs 5

Processor time of one thread, each run in an interpreter of its own: medians. Files are in the
system's cache after the first run, which is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch

from eval_tasks.command import arguments
from eval_tasks.command.exit_codes import exit_code
from preproc.environment import machine, versions

STEPS = {
    "import torch": "import torch; torch.set_num_threads(1)",
    "command line, Pillow, numpy, rich, typer": (
        "import numpy; from PIL import Image; import preproc.cli.enhance_command"
    ),
    "stage and networks": "from preproc.enhancer import Enhancer",
    "network built, weights read and checked": "enhance = Enhancer(device='cpu')",
    "the first picture": "picture = numpy.zeros((64, 64, 3), numpy.uint8); enhance(picture)",
    "a further one": "enhance(picture)",
}


def run_once() -> dict[str, float]:
    """Seconds of each of `STEPS` in a fresh interpreter."""
    program = ["import json, time", "took, at = {}, time.process_time()"]
    for name, step in STEPS.items():
        program += [step, f"now = time.process_time(); took[{name!r}] = now - at; at = now"]
    command = [sys.executable, "-c", "\n".join([*program, "print(json.dumps(took))"])]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, check=True, cwd=root, stdout=subprocess.PIPE, text=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=arguments.count, default=5)
    args = parser.parse_args()

    run_once()
    runs = [run_once() for _ in range(args.runs)]
    for name in STEPS:
        sys.stdout.write(f"{median(run[name] for run in runs):7.2f} s  {name}\n")
    torch.set_num_threads(1)  # as in the runs
    facts = {"runs": args.runs, **machine(torch.device("cpu")), **versions("torch", "pillow")}
    sys.stdout.write("".join(f"{name}: {fact}\n" for name, fact in facts.items()))


if __name__ == "__main__":
    sys.exit(exit_code(main))
