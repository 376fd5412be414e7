# From a bare clone: `make demo`, `make annotate` and `make test`. All make .venv and install into it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= out/annotate
CONFIG ?= configs/normal.py
INPUT ?= out/sample_photos
# Local wheels are honoured where pip is told of them; else torch comes from its CPU index, never with CUDA.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifeq ($(strip $(PIP_FIND_LINKS)),)
export UV_TORCH_BACKEND ?= cpu
endif
UV_INSTALL = $(BIN)/uv pip install --quiet -p $(BIN)/python -c constraints.txt

.PHONY: annotate demo test test-all coverage survive fuzz mutation browser lint fix install-locked lock audit docs clean
.DELETE_ON_ERROR:

$(BIN)/uv:
	@echo "making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.11") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# What is installed is remembered in a stamp, so that a second run installs nothing.
$(VENV)/.installed-annotate: $(BIN)/uv pyproject.toml constraints.txt
	@echo "installing core, perception, viz and train"
	@$(UV_INSTALL) -e '.[perception,viz,train]'
	@touch $@

$(VENV)/.installed-test: $(BIN)/uv pyproject.toml constraints.txt
	@echo "installing everything for the tests"
	@$(UV_INSTALL) -e '.[all,dev,bench]'
	@touch $@ $(VENV)/.installed-annotate

SAMPLES := out/sample_photos/bus.jpg out/sample_photos/zidane.jpg

out/sample_photos/%.jpg: | $(VENV)/.installed-annotate
	@$(BIN)/python -m tools.fetch_models --sample_photos=out/sample_photos

annotate: $(VENV)/.installed-annotate $(if $(filter out/sample_photos,$(INPUT)),$(SAMPLES))
	@$(BIN)/python -m tools.fetch_models
	@$(BIN)/python -m tools.annotate --config='$(CONFIG)' --input='$(INPUT)' --output_dir='$(OUTPUT)'

# A clip whose truth is known, labelled and refined.
demo: $(VENV)/.installed-annotate
	@$(BIN)/python -m tools.fetch_models
	@$(BIN)/python -m tools.demo

test: $(VENV)/.installed-test
	@$(BIN)/python -m tools.fetch_models
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder --durations=60 --durations-min=4 -m "not slow"

# Also the tests that are marked slow.
test-all: $(VENV)/.installed-test
	@$(BIN)/python -m tools.fetch_models
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# Statements and branches of the rooms that turn measurements into labels: at least 95 % of each room.
COVERED := body fitting hardcase labels metrics
coverage: $(VENV)/.installed-test
	@$(BIN)/python -m tools.fetch_models
	@$(BIN)/python -m pytest $(addprefix tests/,$(COVERED)) -n auto --maxprocesses=4 --dist=loadfile \
	  --no-loadscope-reorder -m "not slow" --cov --cov-report=
	@$(BIN)/python -m tests.branch_coverage --output=docs/benchmarks/coverage_cpu.json

# Every parser of files by strangers, by seeded damage and guided by coverage (Linux); at most twenty minutes.
fuzz: $(VENV)/.installed-test
	@if [ "$$(uname)" = Linux ]; then $(UV_INSTALL) -e '.[fuzz]'; fi
	@$(BIN)/python -W ignore -m tests.fuzz.run_fuzz --seconds=$(or $(SECONDS),480) --at_most=1140

# Faults at every call to the disk, kills, broken inputs, relations that labels must keep, and a soak: one table.
# `python -m tests.survive.table --broken=no_fsync|no_rename|no_mask` shows that a broken build turns it red.
survive: $(VENV)/.installed-test
	@$(BIN)/python -m tests.survive.table --output=docs/benchmarks/survive_cpu.json

# Small faults put into the code that all else rests on: does a test turn red? About an hour; docs/mutation.md has what
# survived. `make mutation MUTATION=--groups=safe_pickle` tries one group, `--sample=0` every mutant.
mutation: $(VENV)/.installed-test
	@$(UV_INSTALL) -e '.[mutation]'
	@$(BIN)/python -W ignore -m tests.mutation.run_mutation --output=docs/benchmarks/mutation_cpu.json $(MUTATION)

# A browser for the tests of pages, which skip without one. Only root can install it, where there is apt.
browser:
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing chromium"; \
	  { apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 || { apt-get update -qq >/dev/null 2>&1; \
	    apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; }; } \
	    || echo "chromium could not be installed: tests of pages are skipped"; \
	else echo "no chromium, and no way to install it here: tests of pages are skipped"; fi

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

fix: $(VENV)/.installed-test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The default install, every file of it by its checksum. Releases of the last week are left out: what is wrong with one
# is mostly noticed by then.
install-locked: $(BIN)/uv
	@$(BIN)/uv pip install --quiet -p $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet -p $(BIN)/python --no-deps -e .
	@touch $(VENV)/.installed-annotate

# Keeps the versions that are there; `make lock LOCK_OPTIONS=--upgrade` takes newer ones.
lock: $(BIN)/uv
	@env -u UV_FIND_LINKS -u UV_TORCH_BACKEND $(BIN)/uv pip compile --quiet pyproject.toml --universal --generate-hashes \
	  --fork-strategy fewest --python-version 3.11 --extra perception --extra viz --extra train -c constraints.txt \
	  --exclude-newer "$$($(BIN)/python -c 'import datetime as d; print(d.date.today() - d.timedelta(7))')" \
	  --annotation-style line --no-header $(LOCK_OPTIONS) -o requirements.lock
	@printf '%s\n' "# Every package of the default install (core, perception, viz, train), with the checksums of all its files:" \
	  "# written by \`make lock\`, installed by \`make install-locked\`, tested by tests/hostile/test_supply_chain.py." \
	  | cat - requirements.lock > requirements.lock.new && mv requirements.lock.new requirements.lock

# Known holes of what is locked. Needs the vulnerability service of PyPI or OSV; what it does not know is an error.
audit: $(BIN)/uv
	@$(BIN)/uv tool run pip-audit --strict --require-hashes --disable-pip -r requirements.lock

docs: $(VENV)/.installed-test
	@$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) out dist build site
