# Needs Python 3.11, make and git, and a package registry that pip can reach.
# Everything is installed into .venv; nothing outside this folder is touched.

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DENO_DIR := $(CURDIR)/.venv/deno
export DENO_NO_UPDATE_CHECK := 1

.PHONY: setup demo test check docs newcomer families bench lock

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock requirements-nodeps.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.lock
	$(BIN)/python -m pip install --no-deps -r requirements-nodeps.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

# -- the whole tool on a small world of our own and the two models trained in it, in less than three minutes

demo: $(STAMP)
	$(BIN)/influence demo

# -- for developers

test: $(STAMP)
	$(BIN)/deno test --no-remote --no-npm
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/deno fmt --check
	$(BIN)/deno lint
	$(BIN)/mypy
	$(BIN)/lint-imports

# The reference of commands, then the site in runs/site; a link that leads nowhere is an error.
docs: .venv/.docs
	$(BIN)/python docs/make_cli_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

.venv/.docs: $(STAMP) requirements-docs.lock
	$(BIN)/python -m pip install -r requirements-docs.lock
	touch $@

# What a newcomer types, with the wheel alone; --write keeps what is printed in docs/start.md.
newcomer: $(STAMP)
	$(BIN)/python tests/newcomer.py

families: $(STAMP)
	PYTHONPATH=. $(BIN)/python tests/families

bench: $(STAMP)
	$(BIN)/python tests/bench/run.py

# Write what is installed into the lock. Local version suffixes (+cpu) go: each machine takes the build it has.
lock:
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude kronfluence \
		--exclude torchvision | sed -E 's/\+[A-Za-z0-9.]+$$//' > requirements.lock.part
	mv requirements.lock.part requirements.lock
