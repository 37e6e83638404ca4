# Two commands are all a stranger needs: `make run` and `make test`. Each sets everything up first.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/installed
# Further arguments for the program that a target ends in: make test ARGS='-k fenced'
ARGS  ?=

.DEFAULT_GOAL := help
.PHONY: help setup install lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- setting up -----------------------------------------------------------------------------------

# What the environment was made from: the place (its scripts hold absolute paths) and two files.
inputs = { pwd; cat pyproject.toml requirements.lock; }

# Name another interpreter with: make setup PYTHON=/path/to/python
find_python = for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then echo "$$python"; exit 0; fi; \
	done; \
	echo "Muster needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt install python3-venv)." >&2; \
	echo "None was found. To name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1

setup:  ## make .venv from requirements.lock; does nothing when it is current
	@$(inputs) | cmp -s - $(STAMP) && test -x $(BIN)/python || $(MAKE) --no-print-directory install

install:
	@test ! -f $(STAMP) || test "$$(head -n 1 $(STAMP))" = "$$(pwd)" || rm -rf $(VENV)
	@test -x $(BIN)/python || { python=$$($(find_python)) && echo "$$python -m venv $(VENV)" && "$$python" -m venv --clear $(VENV); }
	@awk '/^[^ #]/ { take = /^uv==/ } take' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@$(inputs) > $(STAMP)

lock:  ## renew requirements.lock (ARGS=--upgrade takes newer versions too)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
	  --no-emit-index-url --annotation-style line --custom-compile-command 'make lock' $(ARGS) \
	  --output-file requirements.lock pyproject.toml
