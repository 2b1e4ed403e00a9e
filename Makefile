# One virtual environment, .venv, serves both `make serve` and `make test`: dev.lock holds the versions of service.lock.
# Stamps inside it remember what is installed, so a second run starts at once and a changed lock installs again.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV       := .venv
LOCK_VENV  := .venv-lock
TRITON_VENV := .venv-triton
SCHEMATHESIS_VENV := .venv-schemathesis
BIN        := $(VENV)/bin
PYTHON     ?= $(shell ./choose-python.sh)
REPOSITORY ?= models/repository
ARGS       ?=
PYTEST_ARGS ?=
COVERAGE_MIN ?= 95

export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip install --quiet --progress-bar off
# --no-deps: the lock is complete (`pip check` holds it to that), and a resolver could only depart from it: pip 23 takes
# the newest release of a package that is also wanted with an extra, and then refuses it for want of a hash.
PIP_LOCKED := $(PIP) --no-deps --require-hashes --requirement
# --no-build-isolation: the project is built by the locked setuptools, not by one fetched on the side.
PIP_PROJECT := $(PIP) --no-deps --no-build-isolation --editable .

.PHONY: help serve workshop test slow promises chaos soak compare conformance perf-analyzer triton bench bench-gpu bench-start bench-scale check digits lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 16

serve: $(VENV)/.service $(VENV)/.project  ## run the server on the shipped models; ARGS="--http-port 9000" adds options
	$(BIN)/retort serve --repository $(REPOSITORY) $(ARGS)

workshop: $(VENV)/.dev $(VENV)/.project  ## install what `retort compress`, `train` and `report` need

# First what needs no server of its own, on all cores; then what has one and judges no times, which waits more than it
# works; then what times servers, on a machine that does nothing else. Exit code 5 is pytest's word for options that
# choose no test of a part.
BESIDE  := tests/unit tests/models tests/conformance
ALONE   := tests/chaos tests/gpu tests/soak \
	$(addprefix tests/fault/test_,half_sent_calls.py hostile_connections.py hostile_models.py hostile_repository.py) \
	$(addprefix tests/fault/test_,overload.py shutdown_under_traffic.py swap_under_traffic.py untaken_answers.py) \
	tests/loadtests/test_planted.py tests/wire/test_grpc_flood.py tests/wire/test_start.py
COVERED := --cov=service --cov-branch
test: check $(VENV)/.project  ## check, then run the tests and demand the coverage; PYTEST_ARGS="-k swap" adds options
	$(BIN)/python -m pytest $(BESIDE) --numprocesses auto --dist loadfile $(COVERED) --cov-report= $(PYTEST_ARGS) \
		|| test $$? -eq 5
	$(BIN)/python -m pytest $(BESIDE:%=--ignore %) $(ALONE:%=--ignore %) --numprocesses 4 --dist loadfile $(COVERED) \
		--cov-append --cov-report= $(PYTEST_ARGS) || test $$? -eq 5
	$(BIN)/python -m pytest $(ALONE) $(COVERED) --cov-append --cov-report=term --cov-fail-under=$(COVERAGE_MIN) \
		$(PYTEST_ARGS)

slow: $(VENV)/.dev $(VENV)/.project  ## the long forms of the tests: minutes
	$(BIN)/python -m pytest -m slow --ignore tests/chaos --ignore tests/soak $(PYTEST_ARGS)

promises: slow chaos soak  ## every promise in its long form: more than an hour

chaos: $(VENV)/.dev $(VENV)/.project  ## ten minutes of everything at once, then every account is held
	$(BIN)/python -m pytest -m slow -rP tests/chaos $(PYTEST_ARGS)

soak: $(VENV)/.dev $(VENV)/.project  ## half an hour of traffic: memory, descriptors and threads stay as they are
	$(BIN)/python -m pytest -m slow -rP tests/soak $(PYTEST_ARGS)

# Its own server on core 0 and the generator on core 1, where there are two: else the two disturb each other.
COMPARE_CORES = $(shell test "$$(nproc)" -gt 1 && command -v taskset > /dev/null && echo yes)
COMPARE_ARGS  = --versions 1,1-int8 --rate 200
compare: $(VENV)/.dev $(VENV)/.project  ## compare two versions of digits under load: a minute; ARGS="--slo-p99-ms 10" replaces the options
	mkdir -p .compare
	$(if $(COMPARE_CORES),taskset -c 0) $(BIN)/retort serve --repository $(REPOSITORY) --http-port 0 --grpc-port 0 \
		--state-dir .compare/state > .compare/address 2> .compare/server.log & \
	trap "kill $$!; wait" EXIT; \
	timeout 60 bash -c 'until grep -q "ready: " .compare/address; do sleep 0.2; done' \
		|| { cat .compare/server.log >&2; exit 1; }; \
	$(BIN)/retort compare digits --url "$$(sed -n 's/^retort .*ready: \(\S*\).*/\1/p' .compare/address)" \
		$(if $(COMPARE_CORES),--cores 1) --out .compare/report $(or $(ARGS),$(COMPARE_ARGS))

conformance: $(VENV)/.dev $(VENV)/.project  ## serve every node test of ONNX and compare with raw ONNX Runtime
	$(BIN)/python -m pytest -m "slow or not slow" -s tests/conformance $(PYTEST_ARGS)

perf-analyzer: $(VENV)/.dev $(VENV)/.project  ## fetch Triton's load generator and run it against the shipped digits
	$(BIN)/python -m tests.support.perf_analyzer .perf-analyzer
	PERF_ANALYZER=$(CURDIR)/.perf-analyzer/perf_analyzer $(BIN)/python -m pytest tests/wire/test_perf_analyzer.py $(PYTEST_ARGS)

schemathesis: $(SCHEMATHESIS_VENV)/.ready $(VENV)/.dev $(VENV)/.project  ## fetch schemathesis and run it over the whole OpenAPI document: two minutes
	SCHEMATHESIS=$(CURDIR)/$(SCHEMATHESIS_VENV)/bin/schemathesis $(BIN)/python -m pytest -rP tests/wire/test_schemathesis.py $(PYTEST_ARGS)

bench: $(VENV)/.dev $(VENV)/.project bench-start  ## what a request of a tiny network costs the server, in ratios to an echo; fails when one is worse than the kept ones
	$(BIN)/python -m tests.bench $(ARGS)

bench-start: $(VENV)/.dev $(VENV)/.project  ## a server's memory and its first answer, in ratios to imports and a session alone
	$(BIN)/python -m tests.bench.start

bench-gpu: $(VENV)/.dev $(VENV)/.project  ## what a GPU makes of a network, by the way it is run, by precision, and served; ARGS="--provider cuda tensorrt"
	$(BIN)/python -m tests.bench.gpu $(ARGS)

bench-scale: $(VENV)/.dev $(VENV)/.project  ## what one request more costs by loaded models, connections and requests that wait; a quarter of an hour
	$(BIN)/python -m tests.bench.scale $(ARGS)

check: $(VENV)/.dev $(VENV)/.project  ## lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

triton: $(TRITON_VENV)/.ready $(VENV)/.dev $(VENV)/.project  ## hold the server against the real tritonserver binary; needs the package index
	$(BIN)/python -m tests.triton.compare --venv $(TRITON_VENV)

digits: $(VENV)/.dev $(VENV)/.project  ## make the shipped model anew; REPOSITORY=DIR, where it must not be yet
	$(BIN)/retort train digits --publish $(REPOSITORY)/digits --ledger models/data/ledger.jsonl

lock: $(LOCK_VENV)/bin/uv  ## resolve the dependencies again; UPGRADE=--upgrade takes the newest releases
	$(UV_COMPILE) -o requirements/service.lock
	$(UV_COMPILE) --extra workshop --extra loadtest --extra test -c requirements/service.lock -o requirements/dev.lock

clean:  ## remove the environments and what the tools left
	rm -rf $(VENV) $(LOCK_VENV) $(TRITON_VENV) $(SCHEMATHESIS_VENV) build dist *.egg-info .coverage .coverage.* htmlcov .pytest_cache \
		.mypy_cache .ruff_cache .import_linter_cache .hypothesis .perf-analyzer .compare
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Hashes, and neither index addresses nor paths: the locks install from any index or mirror.
UPGRADE ?=
UV_COMPILE = $(LOCK_VENV)/bin/uv pip compile --quiet pyproject.toml --group build --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)

$(LOCK_VENV)/bin/uv:
	$(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet uv

# tritonserver with its Python backend, apart from all else: it wants a numpy of its own.
$(TRITON_VENV)/.ready: requirements/triton.txt
	test -x $(TRITON_VENV)/bin/python || $(PYTHON) -m venv $(TRITON_VENV)
	$(TRITON_VENV)/bin/python -m pip install --quiet --progress-bar off --requirement requirements/triton.txt
	@touch $@

# Apart from all else: it wants other versions of what the tests use.
$(SCHEMATHESIS_VENV)/.ready: requirements/schemathesis.txt
	test -x $(SCHEMATHESIS_VENV)/bin/python || $(PYTHON) -m venv $(SCHEMATHESIS_VENV)
	$(SCHEMATHESIS_VENV)/bin/python -m pip install --quiet --progress-bar off --requirement requirements/schemathesis.txt
	@touch $@

$(BIN)/python:
	@python="$(PYTHON)"; test -n "$$python" \
		|| { echo "no Python 3.11, 3.12 or 3.13 with venv found; name one: make PYTHON=/path/to/python" >&2; exit 1; }; \
	echo "making $(VENV) with $$python"; "$$python" -m venv $(VENV)

# The environments are order-only on the interpreter: its link's time says nothing about what is installed.
$(VENV)/.service: requirements/service.lock | $(BIN)/python
	@echo "installing the service's locked dependencies (a few minutes the first time)"
	$(PIP_LOCKED) requirements/service.lock
	$(BIN)/python -m pip check
	@touch $@

# dev.lock holds the versions of service.lock, so it only adds. torch comes after it, by itself: it has no hashes
# (requirements/torch.txt says why).
$(VENV)/.dev: requirements/dev.lock requirements/torch.txt $(VENV)/.service
	@echo "installing the locked dependencies of workshop and tests"
	$(PIP_LOCKED) requirements/dev.lock
	$(PIP) -r requirements/torch.txt
	$(BIN)/python -m pip check
	@touch $@

# Built with the setuptools of service.lock; again when pyproject.toml changes, for its entry points.
$(VENV)/.project: pyproject.toml $(VENV)/.service
	$(PIP_PROJECT)
	@touch $@
