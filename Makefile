# Each target sets up what it needs: a virtual environment with what requirements.txt pins.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.9
RECIPE ?= cajnn-light
# Seconds; some wheels are large.
export UV_HTTP_TIMEOUT ?= 180

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint train report requirements

help:
	@echo "make demo    leave out/demo.png: what OCR and face detection make of a poor photograph,"
	@echo "             before and after enhancement (ARGS='--image yours.jpg --model cajnn-light')"
	@echo "make test    run the tests, on up to four cores (ARGS='-k tiles')"
	@echo "make lint    check style, formatting and types"
	@echo "make train   train a model (RECIPE=cajnn-light, or a file, ARGS='--data folder --minutes 60')"
	@echo "make report  rebuild weights/README.md and its pictures (ARGS='--data folder')"
	@echo "make requirements   pin the newest versions of everything"

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is \
	needed, but $(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)
	$(BIN)/python -m examples.demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal $(ARGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

train: $(READY)
	$(BIN)/preproc train $(RECIPE) --output runs/$(basename $(notdir $(RECIPE))) $(ARGS)

report: $(READY)
	$(BIN)/python eval_tasks/report.py $(ARGS)

# Hashes pin the content; what builds the package itself is in too, so that it is pinned as well.
requirements: $(READY)
	printf 'hatchling>=1.27\neditables>=0.5\n' | $(BIN)/uv pip compile --upgrade --quiet --universal \
	--python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links --extra dev pyproject.toml - --output-file requirements.txt
