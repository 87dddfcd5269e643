# Everything a newcomer, CI and a release need. `make` alone lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet
ARGS   ?=
ROWS   ?= 2000000
SECONDS ?= 60
# Where it is set, each of the many processes of demo and test would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench bench-audit check audit fuzz format lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# The stamps change when the locks do, so a pull that moves a dependency reinstalls.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing locked dependencies into $(VENV) ..."
	@umask 022 && $(PIP) install --require-hashes -r requirements.lock
	@$(BIN)/python -c "import site, pathlib; pathlib.Path(site.getsitepackages()[0], 'resident_data_gateway.pth').write_text('$(CURDIR)\n')"
	@printf '#!/bin/sh\nexec "%s/python" -m gateway "$$@"\n' '$(CURDIR)/$(BIN)' > $(BIN)/gateway && chmod +x $(BIN)/gateway
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@umask 022 && $(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# Apart from ours: what audits does not decide which versions we run.
AUDIT := $(VENV)/audit/bin
$(VENV)/audit/.tools: requirements-audit.lock
	@$(PYTHON) -m venv $(VENV)/audit
	@umask 022 && $(AUDIT)/pip --disable-pip-version-check --quiet install --require-hashes -r requirements-audit.lock
	@touch $@

demo: $(VENV)/.runtime ## PostgreSQL, Valkey, a synthetic registry and the gateway; ARGS="--port 8000 --data .demo --residents 50000 --workers 2"
	@exec $(BIN)/python -m gateway demo $(ARGS)

# Servers are taken away by tests/faults, which times what follows: it runs alone.
SIDE_BY_SIDE := -n 3 --dist loadfile --ignore tests/faults
test: $(VENV)/.dev ## the whole suite on embedded PostgreSQL and Valkey (under 10 minutes); ARGS=-x
	@$(BIN)/python -m pytest -m "not slow and not benchmark" $(SIDE_BY_SIDE) $(ARGS)
	@$(BIN)/python -m pytest -m "not slow and not benchmark" $(ARGS) tests/faults

test-all: $(VENV)/.dev ## the suite with the slow fault and scale runs
	@$(BIN)/python -m pytest -m "not slow and not benchmark" $(SIDE_BY_SIDE) $(ARGS)
	@$(BIN)/python -m pytest -m "slow" $(ARGS)
	@$(BIN)/python -m pytest -m "not slow and not benchmark" $(ARGS) tests/faults

bench-audit: $(VENV)/.dev ## bytes an entry and latencies of the log, at ROWS and a tenth; ROWS=20000000
	@$(BIN)/python -m tests.benchmarks.audit_scale --rows $(ROWS) $(ARGS)

bench: $(VENV)/.runtime ## calls a second of each kind, and what this machine could do bare; ARGS="--json bench.json"
	@$(BIN)/python -m gateway bench --against docs/bench.json $(ARGS)

check: $(VENV)/.dev ## lint, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(VENV)/audit/.tools ## known weaknesses of the locked dependencies (asks PyPI), and what they are: build/sbom.json
	@mkdir -p build
	@$(AUDIT)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o build/sbom.json requirements.lock
	@for lock in requirements.lock requirements-tracing.lock requirements-dev.lock; do \
	  echo "$$lock:"; $(AUDIT)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$lock || exit 1; done

FUZZ := $(VENV)/fuzz/bin
$(VENV)/fuzz/.tools: requirements.lock requirements-fuzz.lock
	@$(PYTHON) -m venv $(VENV)/fuzz
	@umask 022 && $(FUZZ)/pip --disable-pip-version-check --quiet install --require-hashes -r requirements.lock -r requirements-fuzz.lock
	@touch $@

# Each parser of untrusted text; what reached something new is kept in build/fuzz/ for the next time.
fuzz: $(VENV)/fuzz/.tools ## search the parsers of untrusted text for what they fail at; SECONDS=60 each, ARGS=verify_body
	@for name in $(or $(ARGS),$$($(FUZZ)/python -m tests.fuzz.parsers)); do \
	  echo "$$name:"; $(FUZZ)/python -m tests.fuzz.search $$name build/fuzz/$$name -max_total_time=$(SECONDS) -verbosity=0 -print_final_stats=1 || exit 1; done

format: $(VENV)/.dev ## apply formatting and safe lint fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Needs uv (pip install uv); writes no index address into the locks.
LOCK := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header
lock: ## resolve the dependencies anew
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) pyproject.toml --extra tracing -c requirements.lock -o requirements-tracing.lock
	$(LOCK) --group dev -c requirements.lock -c requirements-tracing.lock -o requirements-dev.lock
	$(LOCK) --group audit -o requirements-audit.lock
	$(LOCK) --group fuzz -o requirements-fuzz.lock

clean: ## remove the virtual environment and the demo's data
	rm -rf $(VENV) .demo
