# `make demo` and `make test` work on a new machine: they install first.
# Needs: Python 3.11 or 3.12 with venv, make, 6 GB of disk, a package index.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
DISK_GB := 6

.PHONY: install demo ablations test test-long lint lock clean

install: $(INSTALLED)

$(INSTALLED): requirements/lock.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "Python 3.11 or 3.12 is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 2; }
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1048576) }'); [ "$$free" -ge $(DISK_GB) ] || \
	  { echo "$(DISK_GB) GB of disk are needed here, $$free GB are free."; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --no-deps -r requirements/lock.txt
	$(BIN)/pip install --quiet --no-compile --no-deps --no-build-isolation -e .
# Where Python may not write bytecode, each process would compile JAX anew: 5 s
# of 8 until a wrong value is refused. Extras hold files for other Pythons.
	-@$(BIN)/python -m compileall -q -j 0 .venv/lib > /dev/null
	@touch $@

demo: install
	$(BIN)/hephaestus run gin/runs/demo.gin

# On demo's corpus and cache, about 4 minutes a run on 2 cores; ABLATIONS names
# some of them, OPTIONS adds overrides. What is done is kept, so it may be killed.
ABLATIONS ?= $(wildcard gin/ablations/*.gin)
SEEDS ?= 0,1,2
ablations: install
	@status=0; $(BIN)/hephaestus ablate gin/ablations/all.gin \
	  $(filter-out gin/ablations/all.gin,$(ABLATIONS)) --seeds $(SEEDS) $(OPTIONS) || status=$$?; \
	$(BIN)/hephaestus report gin/runs/demo.gin; exit $$status

test: install
	$(BIN)/pytest -q -n 2 --dist loadfile -m 'not long'

# Many processes, many starts: what CI runs besides.
test-long: install
	$(BIN)/pytest -q -n 2 --dist loadfile -m long

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/shellcheck .ci/run tpu_scripts/*.sh

# Pins what setup.cfg asks for, as of today, from a new environment.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --no-compile 'setuptools>=77' wheel '.[dev]'
	.venv-lock/bin/pip freeze --all --exclude hephaestus-jax --exclude pip > requirements/lock.txt
	rm -rf .venv-lock

clean:
	rm -rf .venv build *.egg-info
