#!/usr/bin/env bash
# Everything that docs/performance.md and docs/ladder.md leave open without a GPU, in one run: the
# tests that CUDA has the CPU's answers, then the whole table, on every size. Needs spandrel for the
# peer's rows; takes minutes.
#
#   benchmarks/gpu.sh [FOLDER]     leaves FOLDER/gpu.json and FOLDER/gpu.txt (default: out)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out}
python=${PYTHON:-python3}
mkdir -p "$out"
"$python" -c 'import sys, torch; torch.cuda.is_available() or sys.exit("There is no CUDA device.")'
"$python" -m pytest tests/test_cuda.py tests/test_enhancer.py tests/test_arrays.py \
  tests/test_transforms.py tests/test_batch_stage.py tests/test_transform_cache.py \
  tests/test_bench.py
preproc() { "$python" -c 'from preproc.cli import main; main()' "$@"; }
{
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total --format=csv,noheader
  preproc bench --device cuda --model cajnn --model cajnn-light --dtype bfloat16 --dtype float16 \
    --dtype float32 --size word --size 512x512 --size 720p --compile --json "$out/gpu.json"
  # By ourselves: the peer's maps of a whole 4K picture have more values than fit 32 bits.
  preproc bench --device cuda --model cajnn --model cajnn-light --no-peers --part stage --size 4k \
    --runs 3 --json "$out/gpu-4k.json"
  # Word crops and small tiles by the batch, where launches and not arithmetic set the pace.
  preproc bench --device cuda --size word --size 128x128 --batch 8 --batch 64 \
    --json "$out/gpu-batches.json"
  # What each step gives, and what is left; tiles are of 1024 px.
  for model in cajnn cajnn-light; do
    "$python" -m benchmarks.ladder --device cuda --model "$model" --size 512x512
    "$python" -m benchmarks.ladder --device cuda --model "$model" --size 1024x1024 --profile
  done
} | tee "$out/gpu.txt"
