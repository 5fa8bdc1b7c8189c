# Needs Python 3.11, make and git, and a package registry that pip can reach.
# Everything is installed into .venv; nothing outside this folder is touched.

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := runs/demo
MODELS := models/miniworld
ANALYSES := correlation concentration answers sources reuse bm25 sanity
ASKED := $(addprefix $(DEMO)/asked/,$(addsuffix .jsonl,slopes arithmetic questions controls))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DENO_DIR := $(CURDIR)/.venv/deno
export DENO_NO_UPDATE_CHECK := 1

.PHONY: setup demo test check docs families bench lock

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock requirements-nodeps.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.lock
	$(BIN)/python -m pip install --no-deps -r requirements-nodeps.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

# -- the whole tool on a small world of our own and the two models trained in it, in less than three minutes

demo: $(DEMO)/queries.jsonl
	$(BIN)/influence fit-hessian $(MODELS)/base --corpus $(DEMO)/corpus --documents 1000 --out $(DEMO)/hessian
	$(BIN)/influence score --queries $(DEMO)/queries.jsonl --model $(MODELS)/base --hessian $(DEMO)/hessian \
		--corpus $(DEMO)/corpus --out $(DEMO)/scores
	$(BIN)/influence tokens $(DEMO)/scores --model $(MODELS)/base --hessian $(DEMO)/hessian
	for name in $(ANALYSES); do $(BIN)/influence analyze $$name $(DEMO)/scores || exit 1; done
	$(BIN)/influence report $(DEMO)/scores --out $(DEMO)/report.html
	@echo "Open $(DEMO)/report.html in a browser."

$(DEMO)/corpus: | $(STAMP)
	$(BIN)/influence corpus miniworld --documents 3000 --no-asides --queries $(DEMO)/asked --out $@

$(DEMO)/queries.jsonl: | $(DEMO)/corpus
	cat $(ASKED) > $(DEMO)/asked.jsonl
	$(BIN)/influence complete $(DEMO)/asked.jsonl --model $(MODELS)/tuned --right 20 --wrong 20 \
		--max-new-tokens 120 --out $@

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

docs: $(STAMP)
	$(BIN)/python docs/make_cli_reference.py

families: $(STAMP)
	PYTHONPATH=. $(BIN)/python tests/families

bench: $(STAMP)
	$(BIN)/python tests/bench/run.py

# Write what is installed into the lock. Local version suffixes (+cpu) go: each machine takes the build it has.
lock:
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude kronfluence \
		--exclude torchvision | sed -E 's/\+[A-Za-z0-9.]+$$//' > requirements.lock.part
	mv requirements.lock.part requirements.lock
