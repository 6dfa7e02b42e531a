# Two commands on a fresh machine (Python 3.11 or newer, git, make):
#   make repro   the whole pipeline on the embedded demo
#   make test    the whole test suite
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
# Hundreds of processes are started: none compiles the sources again, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=
# One more than cores: tests of servers and agents mostly wait.
WORKERS = PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) + 1))

.PHONY: help repro test test-quick lint ui server showcase assets readme lock clean
help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 24

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

repro: $(VENV)/.installed  ## Run the whole pipeline on the embedded demo
	dvc repro
	@echo
	@echo "Done. The report:      reports/demo/index.html"
	@echo "Runs side by side:     make ui   (MLflow on http://127.0.0.1:5000)"

test: $(VENV)/.installed  ## Run the whole test suite
	OMP_NUM_THREADS=1 $(WORKERS) $(BIN)/python -m pytest -n auto

test-quick: $(VENV)/.installed  ## Run the tests that take under a few seconds each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow and not real_data"

lint: $(VENV)/.installed  ## Check style, types and architecture
	ruff check . && ruff format --check . && mypy && lint-imports

ui: $(VENV)/.installed  ## Open the MLflow comparison on 127.0.0.1
	cartoon-pipeline ui

server: $(VENV)/.installed  ## Run Prefect's and MLflow's servers on 127.0.0.1, for agents
	cartoon-pipeline server

showcase: $(VENV)/.installed  ## Run two styles, three seeds, longer trainings (hours on 2 cores)
	cartoon-pipeline run --profile showcase

assets: $(VENV)/.installed  ## Train the networks that ship with the project again (hours on 2 cores)
	dvc repro profiles/assets/dvc.yaml

readme: $(VENV)/.installed  ## Write the README's table of methods again, from what the code trains
	$(BIN)/python -m stages.explain --params params.yaml --readme README.md

lock:  ## Pin the newest allowed versions (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --output-file requirements.lock

clean:  ## Remove the environment and everything that was made, but not the DVC cache
	rm -rf $(VENV) work scratch mlruns
