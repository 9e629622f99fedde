# make all      install, run the default experiment, end with its WER table (12 to 19 minutes on 2 cores after installation)
# make test     install, run the tests (12 to 16 minutes on 2 cores)
# make test-system  install, run the tests that need root, apt or a daemon (a Slurm of this machine), or kill things
# make bench    install, run the quick default of all benchmarks (a quarter of an hour)
# make docs     install, build the documentation site and check its links; says which file to open
# make install  make .venv with the pinned packages and saml itself; done again only when the pins change
# make format   put the sources into the project's form
# make clean    remove .venv and caches; results/ stays
#
# Settings, e.g. `make all CORES=8 ARGS="--configfile config/an4-conformer.yaml"`:
PYTHON ?= python3# the Python that .venv is made with, 3.11 or newer
VENV ?= .venv
CORES ?= all# cores for Snakemake
ARGS ?=# more arguments for Snakemake, pytest or the benchmarks

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: all test test-system bench docs install format clean

# Rules call `saml`, so the environment's programs come first.
WITHIN := PATH="$(abspath $(VENV))/bin:$$PATH"
PIP := "$(VENV)/bin/python" -m pip --disable-pip-version-check --no-input

all: install
	@$(WITHIN) snakemake --cores $(CORES) all $(ARGS)

# A file's tests stay together, because they share what is slow to make; more than four workers want much memory.
test: install
	@$(WITHIN) python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-system: install
	@$(WITHIN) python -m pytest -m "system or slurm" -rs $(ARGS)

bench: install
	@$(WITHIN) python -m benchmarks $(ARGS)

# The theme's advertisement for its successor is not about this site.
docs: install
	@$(WITHIN) NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet
	@echo "Documentation: $(CURDIR)/build/site/index.html"

install: $(VENV)/.saml

# Two stamps: pins that change bring a new installation, project data that change only a new link to saml/.
$(VENV)/.packages: requirements.txt constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "make: no $(PYTHON): install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $$("$(PYTHON)" -V) is too old: saml needs 3.11 or newer; say make PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "make: $(PYTHON) cannot make environments: apt-get install python3-venv (Debian, Ubuntu), then again" >&2; exit 1; }
	@echo "Installing the pinned packages into $(VENV): about 3 minutes and 2 GB (more with a CUDA build of torch) ..."
	@"$(PYTHON)" -m venv "$(VENV)"
	@$(PIP) install -qq --progress-bar off -r requirements.txt -c constraints.txt
	@touch "$@"

$(VENV)/.saml: $(VENV)/.packages pyproject.toml
	@$(PIP) install -qq --progress-bar off --no-deps --editable .
	@touch "$@"
	@echo "Installed: $$("$(VENV)/bin/python" -c 'import saml; print("saml", saml.__version__)') in $(VENV)"

format: install
	@$(WITHIN) ruff check --fix --quiet .
	@$(WITHIN) ruff format .
	@$(WITHIN) snakefmt Snakefile workflow

clean:
	rm -rf "$(VENV)" *.egg-info build .mypy_cache .pytest_cache .ruff_cache
	find saml tests workflow benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
