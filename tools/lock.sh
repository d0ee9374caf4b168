#!/usr/bin/env bash
# From the pyproject files to uv.lock, and from uv.lock to what pip reads: constraints.txt, the versions of everything, and
# requirements/*.txt, the versions with hashes of what one purpose installs. Versions that still fit are kept.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}

export_lock() { "$uv" export --frozen --quiet --no-header --no-annotate --no-emit-workspace "$@"; }

# torch comes first and by itself, in the build that the machine wants, and brings the CUDA packages of that build.
mapfile -t torch < <(sed -nE 's/^name = "(torch|triton|(nvidia|cuda)-.+)"$/--no-emit-package=\1/p' uv.lock | sort -u)
of_all=(--all-packages --no-default-groups --extra deepspeed)

"$uv" lock --quiet
mkdir -p requirements
export_lock --all-packages --all-extras --all-groups --no-hashes --output-file constraints.txt
export_lock --package aqr-eval --no-default-groups --output-file requirements/eval.txt
export_lock "${of_all[@]}" --extra spconv "${torch[@]}" --output-file requirements/runtime.txt
export_lock "${of_all[@]}" --extra spconv-cuda "${torch[@]}" --output-file requirements/runtime-cuda.txt
export_lock --only-group dev "${torch[@]}" --output-file requirements/dev.txt
export_lock --only-group mmdet3d "${torch[@]}" --no-emit-package mmcv --output-file requirements/mmdet3d.txt
# Of mmcv the source archive, which tools/mmcv_operators.py compiles.
export_lock --only-group mmdet3d | awk '/^mmcv==/ { entry = 1 } entry { print } !/\\$/ { entry = 0 }' > requirements/mmcv.txt
export_lock --only-group overlay --output-file requirements/overlay.txt
export_lock --only-group audit --output-file requirements/audit.txt
