#!/usr/bin/env bash
# The CPU's tables in docs/performance.md and docs/ladder.md: one thread, processor time, so that
# other work on the machine hardly matters. About five minutes on one core.
#
#   benchmarks/cpu.sh [FOLDER]     leaves FOLDER/cpu.json and FOLDER/cpu.txt (default: out)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out}
python=${PYTHON:-python3}
mkdir -p "$out"
{
  "$python" -c 'from preproc.cli import main; main()' bench --device cpu --threads 1 --clock cpu \
    --size word --size 128x128 --size 256x256 --runs 5 --json "$out/cpu.json"
  "$python" -m benchmarks.ladder --device cpu --size 512x512 --model cajnn-light
  "$python" -m benchmarks.ladder --device cpu --size 256x256 --model cajnn
} | tee "$out/cpu.txt"
