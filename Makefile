# Two commands to know: `make night` and `make test`. They need make, bash and Python 3.11, and install the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
BIN := .venv/bin
READY := .venv/.ready

# The stamp lies in the environment, so that it goes with it; the network is only asked when the lock changed.
$(READY): uv.lock pyproject.toml setup/environment.sh
	@setup/environment.sh
	@touch $@

.PHONY: help night ten-nights test check mutants soak campaign airflow screenshots cluster-night package docs site bench clean

help: ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name does; do \
		printf '  make %-14s %s\n' "$$name" "$$does"; done

night: $(READY) ## install, simulate a small service, run three nights, show two listeners' lists and a steered one
	@ops/demo.sh

ten-nights: $(READY) ## after `make night`: seven more, so that backtests, searches and promotions have nights to work on
	@ops/ten_nights.sh

test: $(READY) ## install, then run the whole suite
	@setup/environment.sh --tests
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(READY) ## before a commit: format, lint, types, layers, docs in step, the quick tests
	@setup/environment.sh --tests
	@$(BIN)/python ops/check.py

mutants: $(READY) ## small faults in what decides what is served, against the tests of `make check`: MUTANTS=200 SEED=1
	@setup/environment.sh --group mutants
	@$(BIN)/python -m tests.tools.mutants --mutants $(or $(MUTANTS),200) --seed $(or $(SEED),1)

soak: $(READY) ## nights in a row with random faults, on LMDB and Redis: NIGHTS=10 SEED=1
	@setup/environment.sh --tests
	@$(BIN)/python -m tests.faults.soak --nights $(or $(NIGHTS),10) --seed $(or $(SEED),1)

campaign: $(READY) ## search for faults for as long as asked: MINUTES=10 SEED=1
	@setup/environment.sh --tests
	@$(BIN)/python -m tests.faults.campaign --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

airflow: $(READY) ## Airflow's UI and scheduler with the DAGs, on this machine only
	@ops/airflow.sh

screenshots: $(READY) ## pictures of a finished run and of the Data Docs, into docs/images
	@$(BIN)/python -m docs.tools.screenshots

cluster-night: package ## one night on a real standalone cluster, compared with the one-process night
	@ops/cluster_night.sh

package: dist/environment.tar.gz ## what a cluster needs: dist/nocturne.zip and dist/environment.tar.gz
	@$(BIN)/python ops/package.py code

dist/environment.tar.gz: uv.lock ops/package.py | $(READY)
	@echo "packing the executors' environment into $@"
	@$(BIN)/python ops/package.py environment

docs: $(READY) ## write docs/tables.md from the contracts, docs/openapi.json from the routes, docs/plan.schema.json from plans
	@$(BIN)/python -m docs.tools.document_tables > docs/tables.md
	@$(BIN)/python -m docs.tools.document_service > docs/openapi.json
	@$(BIN)/python -m docs.tools.document_plans > docs/plan.schema.json

site: $(READY) ## the pages as a site, links checked, into dist/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict # quiet, it would not count its warnings
	@echo "open dist/site/index.html"

bench: $(READY) ## the main claims of speed and quality, beside their peers (half an hour), on data/sets: docs/data.md
	@$(BIN)/python -m benchmarks.rank
	@$(BIN)/python -m benchmarks.spark_rank
	@$(BIN)/python -m benchmarks.train
	@$(BIN)/python -m benchmarks.lastfm
	@$(BIN)/python -m benchmarks.rerank
	@$(BIN)/python -m benchmarks.cache

clean: ## remove what was built or simulated; keeps the environment
	@rm -rf data dist .airflow .mypy_cache .pytest_cache .ruff_cache .hypothesis
