# Verbs of the workspace. A fresh machine needs Python 3.10-3.12, gcc and pip:
#   make demo    train, score and look at a report
#   make test    every test that needs neither a GPU nor a browser
# format, lint, types and the tests take PKG=aqr_eval|aqr_core|aqr_train to stay inside one package.
# setup takes SPCONV=spconv-cuda for the CUDA 12.6 build of the sparse convolutions, and TORCH_INDEX=URL for another
# build of torch than PyPI's, such as https://download.pytorch.org/whl/cu126, which goes with it.

PYTHON      ?= python3
VENV        ?= .venv
JOBS        ?= 2
PKG         ?=
SPCONV      ?= spconv
TORCH_INDEX ?=

BIN   := $(VENV)/bin
STAMP := $(VENV)/installed
PIP   := $(BIN)/python -m pip --disable-pip-version-check

PACKAGES := packages/aqr_eval packages/aqr_core packages/aqr_train
LOCKS    := requirements/$(if $(filter spconv-cuda,$(SPCONV)),runtime-cuda,runtime).txt requirements/dev.txt
HASHED   := --no-deps --require-hashes $(addprefix -r ,$(LOCKS))
OVERLAY  := --no-deps --require-hashes --force-reinstall -r requirements/overlay.txt
SOURCES  := $(if $(PKG),packages/$(PKG) tests/$(PKG),packages tests tools docker)
TESTS    := $(if $(PKG),tests/$(PKG),tests)
TYPED    := $(if $(PKG),packages/$(PKG)/src,packages/aqr_eval/src packages/aqr_core/src packages/aqr_train/src)

# One thread per test worker: two workers with two threads each would fight over two cores.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg

.DEFAULT_GOAL := help
.PHONY: help setup mmdet3d format lint types test test-isolation test-browser test-documents test-mmdet3d docker-check docker-build-test test-gpu \
  gpu-check demo demo-scratch baseline ablation lock audit licences clean

help:            ## this list
	@grep -hE '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 20

setup: $(STAMP)  ## .venv with the three packages, editable, pinned

# torch first, in the build of this machine or of TORCH_INDEX, and last the CUDA packages of that build: requirements/README.md.
$(STAMP): constraints.txt $(wildcard requirements/*.txt packages/*/pyproject.toml)
	@echo "Installing into $(VENV); a few minutes on a fresh machine."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -qq --no-deps -c constraints.txt $(addprefix --index-url ,$(TORCH_INDEX)) torch
	$(PIP) install -qq $(HASHED)
	$(PIP) install -qq $(OVERLAY)
	$(PIP) install -qq -c constraints.txt torch
	$(PIP) install -qq --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	touch $@

# On top of an environment of its own, which is the default one otherwise. mmcv is compiled (18 CPU minutes) where no wheel for
# this torch is kept, and looked at in every call, so that this verb also mends what an upgrade of torch has broken.
MMDET3D := .venv-mmdet3d
mmdet3d:         ## .venv-mmdet3d: the packages beside mmdet3d 1.4, mmcv with its operators
	$(MAKE) --no-print-directory setup VENV=$(MMDET3D)
	$(MAKE) --no-print-directory $(MMDET3D)/ready
	MAX_JOBS=$(JOBS) $(MMDET3D)/bin/python tools/mmcv_operators.py

$(MMDET3D)/ready: requirements/mmdet3d.txt $(MMDET3D)/installed
	$(MMDET3D)/bin/python -m pip install -qq --no-deps --require-hashes -r requirements/mmdet3d.txt
	$(MMDET3D)/bin/python -m pip install -qq $(OVERLAY)
	touch $@

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
	$(TEST_ENV) $(BIN)/python -m pytest $(TESTS) -m "not gpu and not browser and not isolation and not documents" -n $(JOBS) --dist loadfile

test-isolation: setup  ## each package alone in an environment of its own
	$(TEST_ENV) $(BIN)/python -m pytest tests/integration/test_isolation.py -m isolation -n $(JOBS)

test-mmdet3d: mmdet3d  ## the tests beside mmdet3d
	$(TEST_ENV) $(MMDET3D)/bin/python -m pytest tests/aqr_core/beside_mmdet3d tests/aqr_train/beside_mmdet3d -n $(JOBS) --dist loadfile

docker-check: setup  ## docker/ without an engine: linter, schema, what its text promises
	$(BIN)/python docker/check
	$(TEST_ENV) $(BIN)/python -m pytest tests/docker

docker-build-test:   ## build the images cpu and eval without an engine, and use them; apt installs buildah where it is absent
	$(PYTHON) docker/build_test

test-documents: setup  ## every command of docs/from-mmdet3d.md, run
	$(TEST_ENV) $(BIN)/python -m pytest tests/integration -m documents -n $(JOBS)

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

lock:            ## resolve uv.lock again, and write constraints.txt and requirements/ from it
	test -x $(VENV)-lock/bin/uv || { $(PYTHON) -m venv $(VENV)-lock; $(VENV)-lock/bin/python -m pip install -qq uv==0.13.9; }
	UV=$(VENV)-lock/bin/uv tools/lock.sh

AUDIT := $(VENV)-audit
$(AUDIT)/installed: requirements/audit.txt
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install -qq --no-deps --require-hashes -r requirements/audit.txt
	touch $@

audit: $(AUDIT)/installed  ## known vulnerabilities of everything in constraints.txt, as PyPI tells them
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

licences: $(AUDIT)/installed mmdet3d  ## write docs/licences.md
	$(AUDIT)/bin/python tools/licences.py $(MMDET3D)/bin/python

clean:           ## remove the environment and everything that the verbs above wrote
	rm -rf $(VENV) $(VENV)-lock $(AUDIT) $(MMDET3D) demo build dist .ruff_cache .mypy_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
