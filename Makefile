# Two commands are all a stranger needs: `make run` and `make test`. Each sets everything up first.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/installed
# Further arguments for the program that a target ends in: make test ARGS='-k fenced'
ARGS  ?=

.DEFAULT_GOAL := help
.PHONY: help setup install ray install-ray lock gen gen-check release-image breaking backends run test faults bench bench-lock lint format

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
	echo "None was found. To name one: make setup PYTHON=/path/to/python3" >&2; exit 1

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
	@# Else each start compiles 1,000 modules where PYTHONDONTWRITEBYTECODE is set: 1.5 s of CPU.
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib services agents gen
	@$(inputs) > $(STAMP)

# Ray is large, and only who asks for it needs it: `make run POOL=ray`, and the tests.
RAY_STAMP := $(VENV)/installed-ray

ray: setup  ## add Ray to .venv, for hosts on Ray; does nothing when it is there
	@cmp -s requirements-ray.lock $(RAY_STAMP) && test $(RAY_STAMP) -nt $(STAMP) \
	  || $(MAKE) --no-print-directory install-ray

install-ray:
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-ray.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-ray.lock
	@cp requirements-ray.lock $(RAY_STAMP)

# Every extra but Ray's, which is locked beside it, to the same versions.
EXTRAS = server yaml postgres consul nats temporal telemetry audit examples dev
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --annotation-style line --custom-compile-command 'make lock' $(ARGS)

lock:  ## renew the lock files (ARGS=--upgrade takes newer versions too)
	$(COMPILE) $(addprefix --extra ,$(EXTRAS)) --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra ray --constraint requirements.lock --output-file requirements-ray.lock pyproject.toml

# --- the wire -------------------------------------------------------------------------------------

# The proto root is the import root: proto/muster/v1/x.proto becomes muster/v1/x_pb2.py. Types of
# google/rpc come with googleapis-common-protos; the others have no such package and are generated:
# buf/validate, and the interface that KEDA calls.
PROTOC   = $(BIN)/python -m grpc_tools.protoc -I proto/third_party -I proto \
           --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc
PROTOS   = $(patsubst proto/%,%,$(sort $(wildcard proto/muster/v1/*.proto)))
KEDA     = muster/keda/externalscaler.proto
SERVICES = $(patsubst proto/%,%,$(sort $(shell grep -l '^service ' /dev/null $(wildcard proto/muster/v1/*.proto)))) $(KEDA)
IMAGE   := proto/muster.v1.binpb
# One folder for each run of make, so that two at a time do not meet.
OUT      = build/$@.$(shell echo $$PPID)

# Generates into $(1), which must not exist yet.
define generate
@mkdir -p $(1)/muster/v1
@$(PROTOC) --python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS) buf/validate/validate.proto $(KEDA)
@$(PROTOC) --grpc_python_out=$(1) --mypy_grpc_out=quiet,only_async:$(1) $(SERVICES)
@touch $(1)/muster/v1/py.typed $(1)/muster/keda/py.typed $(1)/buf/py.typed
endef

gen: setup  ## generate gen/python from proto/, offline
	$(call generate,$(OUT))
	@mkdir -p gen && rm -rf gen/python && mv $(OUT) gen/python
	@$(BIN)/python -m muster.workflow.published proto/muster/v1 deploy/schemas/workflow.schema.json
	@$(BIN)/python -m muster.declared.published deploy/schemas/agent.schema.json

gen-check: setup  ## check that gen/python is what `make gen` makes
	$(call generate,$(OUT))
	@diff -r -q -x __pycache__ $(OUT) gen/python \
	  || { rm -rf $(OUT); echo "gen/python is not what proto/ says: run make gen and commit it" >&2; exit 1; }
	@rm -rf $(OUT)
	@echo "gen-check: gen/python is current"

release-image: setup  ## renew the released shape of the wire, which `make breaking` compares with
	$(BIN)/buf build --path proto/muster --exclude-source-info --output $(IMAGE)

breaking: setup  ## check that proto/ breaks nothing that was released
	@if test -f $(IMAGE); then \
	  $(BIN)/buf build --path proto/muster --output - | $(BIN)/buf breaking - --against $(IMAGE) --exclude-imports \
	  && echo "breaking: nothing released is broken"; \
	else echo "breaking: nothing to compare with before the first release ($(IMAGE) does not exist)"; fi

# --- checking and running -------------------------------------------------------------------------

backends: setup  ## get Consul, NATS and Temporal for `muster up --with`; builds with Go what is missing
	@$(BIN)/python -m muster.servers.building deploy/backends

# Folders that may hold Python, as far as they exist.
SOURCES = $(wildcard services agents tests benchmarks)

run: setup $(filter ray,$(POOL))  ## set everything up and run the audit (POOL=ray: on Ray)
	$(BIN)/muster audit $(if $(POOL),--pool $(POOL)) $(ARGS)

test: setup ray  ## set everything up and run every test
	$(BIN)/python -m pytest $(ARGS)

faults: setup  ## break everything, under load: the fault table (PROFILE=full, ARGS='--soak 600 --seed 7')
	$(BIN)/python -m tests.faults $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

bench: setup  ## measure every figure beside its peers, about 15 minutes (not part of the tests)
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib services agents gen benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

bench-lock:  ## renew the lock file of the peers that `make bench` measures beside
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --annotation-style line --custom-compile-command 'make bench-lock' $(ARGS) \
	  --output-file benchmarks/peers/requirements.lock benchmarks/peers/requirements.in

lint: setup  ## check style, types, the protos, and that gen/python is current
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(SOURCES)
	$(BIN)/buf lint
	$(BIN)/python -m muster.runtime.permissions
	@$(MAKE) --no-print-directory breaking gen-check

format: setup  ## let ruff mend what it can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
