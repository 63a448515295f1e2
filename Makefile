# Everything that one does with this checkout. Each target installs what it needs and says so.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
TOOLS := lab/with-tools
# What `make test` runs instead of all: folders, files, or single tests.
TESTS ?=
ALONE := tests/e2e/test_benchmarks.py
# Istio takes minutes to build: it is tested on request.
ISTIO := tests/e2e/istio

.PHONY: help demo test istio soak lint types docs unit man bench lab-up lab-down

help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

# With KUBECONFIG set nothing is needed but the program itself and what it uses.
demo: ## See the main job for real: on the lab's Kubernetes, or on yours with KUBECONFIG set
	@$(TOOLS) $(if $(KUBECONFIG),--tow,--lab) python -m lab.demo

test: lint types docs lab-up ## All checks and all tests; TESTS=tests/e2e for some
ifeq ($(TESTS),)
	@# Those of the cluster mostly wait: two at a time, each worker with a lab of its own.
	@# The others measure, or look at what the whole machine has. All are run whatever fails, and
	@# what the first have failed is said again at the end, where it is seen.
	@mkdir -p build; status=0; \
	$(TOOLS) --lab pytest -n 2 --dist loadfile --ignore $(ALONE) --ignore $(ISTIO) tests/e2e \
	  | tee build/e2e.log || status=$$?; \
	$(TOOLS) --lab pytest tests/lab tests/netns tests/router tests/unit $(ALONE) || status=$$?; \
	grep -E '^(FAILED|ERROR) |^=+ .* in ' build/e2e.log; \
	exit $$status
else
	@$(TOOLS) --lab pytest $(TESTS)
endif

istio: lab-up ## The tests in a mesh of Istio, which is built once, in minutes
	@$(TOOLS) --lab lab istio
	@$(TOOLS) --lab pytest $(ISTIO)

soak: lab-up ## Random traffic under random faults, for MINUTES=10; SEED=… for the same again
	@SOAK_MINUTES=$(or $(MINUTES),10) SOAK_SEED=$(or $(SEED),0) $(TOOLS) --lab pytest -s tests/e2e/test_soak.py

lint: ## Style, import contracts, and that the agent's side runs on Python 3.9
	@$(TOOLS) ruff check .
	@$(TOOLS) ruff format --check .
	@$(TOOLS) lint-imports --no-logo
	@$(TOOLS) vermin --quiet --no-tips --violations -t=3.9- src/towline/wire src/towline/relay src/towline/agent

docs: ## The documents as a site, in build/site; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(TOOLS) mkdocs build --strict

types: ## mypy --strict
	@$(TOOLS) mypy

unit: ## The unit tests alone: no root, no cluster
	@$(TOOLS) pytest -n auto tests/unit

man: ## The manual pages, in build/man
	@$(TOOLS) tow man build/man

bench: lab-up ## The figures of docs/performance.md
	@$(TOOLS) --lab python -m benchmarks

lab-up: ## A real Kubernetes for the tests, or repair it
	@$(TOOLS) --lab lab up

lab-down: ## Remove it
	@$(TOOLS) --lab lab down
