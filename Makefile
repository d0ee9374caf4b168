# Verbs of the workspace. A fresh machine needs Python 3.10-3.12, gcc and pip:
#   make demo    train, score and look at a report
#   make test    every test that needs neither a GPU nor a browser
# format, lint, types and the tests take PKG=aqr_eval|aqr_core|aqr_train to stay inside one package.
# setup takes SPCONV=spconv-cuda for the CUDA build of the sparse convolutions.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
PKG    ?=
SPCONV ?= spconv

BIN   := $(VENV)/bin
STAMP := $(VENV)/installed
PIP   := $(BIN)/python -m pip --disable-pip-version-check

PACKAGES     := packages/aqr_eval packages/aqr_core[$(SPCONV)] packages/aqr_train[deepspeed]
REQUIREMENTS := constraints.txt requirements-dev.txt requirements-devkit.txt
SOURCES      := $(if $(PKG),packages/$(PKG) tests/$(PKG),packages tests tools)
TESTS        := $(if $(PKG),tests/$(PKG),tests)
TYPED        := $(if $(PKG),packages/$(PKG)/src,packages/aqr_eval/src packages/aqr_core/src packages/aqr_train/src)

# One thread per test worker: two workers with two threads each would fight over two cores.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg

.DEFAULT_GOAL := help
.PHONY: help setup setup-mmdet3d format lint types test test-isolation test-gpu test-browser gpu-check demo demo-scratch baseline ablation lock clean

help:            ## this list
	@grep -hE '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

setup: $(STAMP)  ## .venv with the three packages, editable, pinned

# The requirements of the last line go in without their dependencies and on top of the rest; the file says why.
$(STAMP): $(REQUIREMENTS) $(wildcard packages/*/pyproject.toml)
	@echo "Installing into $(VENV); a few minutes on a fresh machine."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -qq -c constraints.txt -r requirements-dev.txt $(addprefix -e ,$(PACKAGES))
	$(PIP) install -qq --no-deps --force-reinstall -r requirements-devkit.txt
	touch $@

# mmcv must find torch while it compiles, mmdet3d must not bring its own dependencies; the requirements say more.
# The last line also lays the OpenCV without windows over the one that mmcv asks for.
MMDET3D := .venv-mmdet3d/bin/python
setup-mmdet3d:   ## .venv-mmdet3d, to compare with mmdet3d 1.4 (compiles mmcv: 18 CPU minutes)
	test -x $(MMDET3D) || $(PYTHON) -m venv .venv-mmdet3d
	$(MMDET3D) -m pip install -q -r requirements-mmdet3d.txt
	MMCV_WITH_OPS=1 MAX_JOBS=$(JOBS) $(MMDET3D) -m pip install -q --no-build-isolation mmcv==2.1.0
	$(MMDET3D) -m pip install -q --no-deps mmdet==3.2.0 mmdet3d==1.4.0 nuscenes-devkit==1.2.0 lyft_dataset_sdk==0.0.8
	$(MMDET3D) -m pip install -q --no-deps --force-reinstall opencv-python-headless==5.0.0.93

format: setup    ## rewrite the code in the house style
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

lint: setup      ## style, changelogs, file sizes
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/python tools/check_changelog.py
	$(BIN)/python tools/check_files.py

types: setup     ## mypy
	$(BIN)/mypy $(TYPED)

test: setup      ## every test that needs neither a GPU nor a browser
	$(TEST_ENV) $(BIN)/python -m pytest $(TESTS) -m "not gpu and not browser and not isolation" -n $(JOBS) --dist loadfile

test-isolation: setup  ## each package alone in an environment of its own
	$(TEST_ENV) $(BIN)/python -m pytest tests/integration/test_isolation.py -m isolation -n $(JOBS)

test-gpu: setup  ## the tests that need a CUDA device
	$(BIN)/python -m pytest $(TESTS) -m gpu

# Any of these names on the PATH will do; apt, which asks for root or sudo, is for Debian, whose package has no snap in it.
CHROMIUM := chromium chromium-browser google-chrome
SUDO     := $(if $(filter 0,$(shell id -u)),,sudo)
test-browser: setup  ## the reports in a headless Chromium, which apt installs where there is none
	@for name in $(CHROMIUM); do command -v $$name && exit; done; set -e; \
	  $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
	$(TEST_ENV) $(BIN)/python -m pytest $(if $(PKG),$(TESTS),tests/aqr_eval) -m browser

gpu-check: setup  ## what needs a CUDA device, written to docs/benchmarks/gpu.md
	$(BIN)/python -m aqr_train.gpu_check --out docs/benchmarks/gpu.md

demo: setup      ## synthetic data, fine-tuning from the shipped baseline, scores, report
	$(BIN)/python -m aqr_train.demo

demo-scratch: setup  ## the same without the shipped baseline
	$(BIN)/python -m aqr_train.demo --scratch

baseline: setup  ## train the shipped baseline again (hours on a CPU)
	$(BIN)/python -m aqr_train.baseline

ablation: setup  ## train and compare baseline, AQR v1, v2, v3 and router
	$(BIN)/python -m aqr_train.ablation

# One resolution for Python 3.10 to 3.12; uv keeps the versions that still fit. The CUDA packages in it are
# what torch asks for where its CUDA build is installed; its CPU build asks for none of them.
lock: setup      ## resolve constraints.txt again
	$(PIP) install -qq uv
	printf '%s\n' $(addprefix "-e ,$(addsuffix ",$(PACKAGES))) "-e packages/aqr_core[spconv-cuda]" "-r requirements-dev.txt" \
	  | $(BIN)/uv pip compile - --output-file constraints.txt --universal --python-version 3.10 --quiet \
	      --no-annotate --custom-compile-command "make lock" --no-emit-index-url \
	      --no-emit-package aqr-eval --no-emit-package aqr-core --no-emit-package aqr-train

clean:           ## remove the environment and everything that the verbs above wrote
	rm -rf $(VENV) .venv-mmdet3d demo build dist .ruff_cache .mypy_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
