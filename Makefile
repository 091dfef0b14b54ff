# Two commands do everything on a fresh machine with Python >= 3.11 and make:
#   make quickstart   install, run sweeps/quickstart.yaml, print the summary and the path of the report
#   make test         install with the test extra, run the whole test suite
# Running either again reuses what is there.

PYTHON ?= python3
VENV   ?= .venv
# Files as they come: the long ones, on a real SLURM, are the first. They wait more than they compute, hence one worker
# more than there are cores.
PYTEST ?= -n $(shell expr $$(nproc) + 1) --dist loadfile --no-loadscope-reorder
BIN    := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test lint types clean

quickstart: $(VENV)/installed
	$(BIN)/ablate run sweeps/quickstart.yaml

test: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; run make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) with the test extra (once; a few minutes) ..."
	$(INSTALL) --editable ".[test]"
	@touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
