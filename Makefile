# `make` lists what there is. The two that a newcomer needs are `make demo` and `make test`.
# Every target installs what it lacks into .venv and needs nothing but Python 3.11 or newer and make.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq
PYTHONS := python3.13 python3.12 python3.11 python3
JOBS ?= 2
T ?=
HOUSE := tests/house tests/test_docs.py tests/test_docs_configuration.py

# A stamp is touched when its step is over, so that an interrupted one is done again and a finished one is not.
MADE := $(VENV)/.made
RUN := $(VENV)/.run-installed
DEV := $(VENV)/.dev-installed

.PHONY: help setup demo run test check lint format types house bench docs lock clean

help: ## Show this list.
	@echo "make demo and make test need no preparation. All there is:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV) ## Install everything for working on PostPost, into .venv.

demo: $(RUN) ## Show PostPost at work: posts through the real API to sandbox platforms. Ends by itself.
	@$(BIN)/postpost demo

run: $(RUN) ## Start PostPost with the sandbox, on http://127.0.0.1:8080, until Ctrl-C.
	@$(BIN)/postpost up --sandbox

test: $(DEV) ## Run the tests; `make test T=tests/posts` runs those of one folder or file.
	@$(BIN)/python -m pytest -n $(JOBS) $(T)

check: lint types house ## Everything but the tests themselves: lint, format, types, import arrows, house rules, docs.

lint: $(DEV) ## Lint, formatting and the arrows between the wings.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

format: $(DEV) ## Format the code, and mend what the linter can mend by itself.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

types: $(DEV) ## Check the types, strictly.
	@$(BIN)/mypy

house: $(DEV) ## The rules of the house and the docs, as tests.
	@$(BIN)/python -m pytest -q -n $(JOBS) $(HOUSE)

bench: $(DEV) ## Measure, each figure against a bare loop. Takes minutes; wants a quiet machine.
	@$(BIN)/python -m bench

docs: $(DEV) ## Write the generated tables of docs/ anew.
	@$(BIN)/python -m docs.generate

# The oldest Python that is supported may need packages that newer ones do not: the pins are made on it.
lock: PYTHONS := python3.11 $(PYTHONS)
lock: LOCK_PIP := $(VENV)-lock/bin/python -m pip --disable-pip-version-check
lock: ## Pin the newest versions that pyproject.toml and requirements/dev.in allow, into requirements/*.txt.
	@$(find_python); rm -rf $(VENV)-lock; $$found -m venv $(VENV)-lock
	@echo "Resolving what pyproject.toml asks for ..."
	@$(LOCK_PIP) install -qq .
	@$(LOCK_PIP) freeze --all --exclude postpost --exclude pip --exclude wheel > requirements/run.txt
	@echo "Resolving what requirements/dev.in asks for ..."
	@$(LOCK_PIP) install -qq -r requirements/dev.in
	@$(LOCK_PIP) freeze --all --exclude postpost --exclude pip --exclude wheel > requirements/dev.txt
	@rm -rf $(VENV)-lock build
	@git --no-pager diff --stat -- requirements || true

clean: ## Remove .venv and everything that tools have left behind. Touches no data of PostPost.
	rm -rf $(VENV) $(VENV)-lock build dist src/*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Sets `found` to the first Python that is new enough and complete; Debian ships one without ensurepip.
define find_python
found=; for python in $(PYTHONS); do \
	if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then \
	echo "PostPost needs Python 3.11 or newer, with its venv module, and found none of: $(PYTHONS)." >&2; \
	echo "Debian and Ubuntu: apt-get install python3 python3-venv. macOS: brew install python." >&2; \
	exit 1; \
fi
endef

$(MADE):
	@$(find_python); echo "Making $(VENV) with $$($$found --version) ..."; $$found -m venv $(VENV)
	@touch $@

$(RUN): $(MADE) pyproject.toml requirements/run.txt
	@echo "Installing PostPost and what it runs on, into $(VENV) (a minute or two, the first time) ..."
	@$(PIP) -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# The pins of dev.txt hold all of run.txt.
$(DEV): $(MADE) pyproject.toml requirements/dev.txt
	@echo "Installing PostPost and what its tests need, into $(VENV) (a minute or two, the first time) ..."
	@$(PIP) -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(RUN) $@
