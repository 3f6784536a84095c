# The project's commands. `make` alone lists them.
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.installed
STAMP := $(VENV)/.installed-dev
SHELL := /bin/bash

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2}'

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

$(CORE): pyproject.toml constraints.txt
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(STAMP): $(CORE)
	$(PIP) -e ".[dev,docs]"
	@touch $@

.PHONY: install
install: $(STAMP) ## Make .venv and install hrpose with its development tools into it

.PHONY: fit
fit: $(CORE) ## Train a small HRNet on drawn people and print its AP (about five minutes on two cores)
	$(BIN)/hrpose fit

.PHONY: test
test: $(STAMP) ## Run the fast test suite
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not gpu" $(ARGS)

.PHONY: test-slow
test-slow: $(STAMP) ## Run the tests that take minutes
	$(BIN)/python -m pytest -m "slow" $(ARGS)

# Emulates other processors: this one unchanged, one with AVX2, and one without vector instructions beyond SSE4.1, each with one
# thread and with two. MARK="not slow and not gpu" runs the whole suite with each setting.
MARK ?= trains and not gpu
.PHONY: test-processors
test-processors: $(STAMP) ## Run the tests that train with the rounding of other processors (about ten minutes on two cores)
	@status=0; summary=""; cores=$$(getconf _NPROCESSORS_ONLN); \
	for processor in "" "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2" "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41"; do \
		for threads in 1 2; do \
			if env $$processor OMP_NUM_THREADS=$$threads $(BIN)/python -m pytest -q -n $$((cores / threads)) -m "$(MARK)" $(ARGS); \
			then verdict=passed; else verdict=FAILED; status=1; fi; \
			summary="$$summary$$verdict  OMP_NUM_THREADS=$$threads $$processor\n"; \
		done; \
	done; \
	printf "\n$$summary"; exit $$status

BENCH ?= data metric codecs inference train
.PHONY: bench
bench: $(STAMP) ## Compare speed with reference code; BENCH="metric train" selects benchmarks, ARGS="--repeats 1" is passed to each (about five minutes on two cores)
	@for name in $(BENCH); do $(BIN)/python scripts/benchmarks/$$name.py $(ARGS) || exit 1; done

.PHONY: lint
lint: $(STAMP) ## Check style, types and imports between layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: docs
docs: $(STAMP) ## Build the documentation site in build/site (about 10 seconds)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Built: build/site/index.html"

.PHONY: serve
serve: $(STAMP) ## Show the documentation site at http://127.0.0.1:8000, rebuilt when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

.PHONY: format
format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: clean
clean: ## Remove the virtual environment, the site and caches (runs/ and datasets/ stay)
	rm -rf $(VENV) build/site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
