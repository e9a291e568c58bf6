# Two commands: `make demo` and `make test`. Each does its own set-up, the first time only.

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# The first Python here that is new enough; another one: make PYTHON=/path/to/python3.12 demo
PYTHON ?= $(shell for name in python3 python3.12 python3.11 python3.13; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; \
	done)

# What lies beside a checkout on some machines: sample pictures, reference arrays, schemas.
export K3DN_SAMPLES := $(or $(K3DN_SAMPLES),$(abspath $(wildcard ../shared/data)))
export K3DN_REFERENCE := $(or $(K3DN_REFERENCE),$(abspath $(wildcard ../shared/reference)))
export K3DN_SCHEMAS := $(or $(K3DN_SCHEMAS),$(abspath $(wildcard ../shared/schemas)))
# The tools that come with the packages (ray, weed, kubectl) must be found.
# Each process of Ray's and of pytest's reads what was compiled before, whatever the shell says.
RUN := PYTHONDONTWRITEBYTECODE= PATH="$(BIN):$$PATH"

.PHONY: help demo test quick lint install clean

help:
	@echo "make demo    the whole pipeline in small; ends with one page to look at"
	@echo "make test    all tests, in two processes (ARGS='-k name' for some)"
	@echo "make quick   the tests that start no cluster, server, browser or demo"
	@echo "make lint    ruff and mypy"
	@echo "make install the k3dn command in $(VENV)"
	@echo "make clean   remove $(VENV)"

demo: $(VENV)/.pipelines
	@$(RUN) $(BIN)/k3dn demo $(ARGS)

test: $(VENV)/.dev
	@$(RUN) $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

quick: $(VENV)/.dev
	@$(RUN) $(BIN)/python -m pytest -q -n 2 --dist loadgroup \
		-m "not (ray or s3 or browser or demo or slow)" $(ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

install: $(VENV)/.pipelines

clean:
	rm -rf $(VENV)

# The stamp is written last: an installation that was cut off is taken up again.
$(VENV)/.pipelines $(VENV)/.dev: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "k3dn needs Python 3.11 or newer; none was found" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make $(VENV): install Python's venv module" \
		"(on Debian: apt install python3-venv)" >&2; exit 2; }
	@sh .ci/install $(BIN)/python $(patsubst .%,%,$(notdir $@))
	@touch $@
