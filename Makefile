# Enkrat. `make help` lists the commands; each is one script in scripts/ or one tool.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
# Compiled modules are kept beside their sources: dozens of short processes would compile them again and again.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help demo clean-demo test check format bench requirements docs lock setup setup-test

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: setup ## sign a document as a new person and keep serving (ONCE=1 ends; FILE=a.pdf OUT=b.pdf sign your own)
	@$(BIN)/python scripts/demo.py $(if $(ONCE),--once) $(if $(FILE),--file "$(FILE)") $(if $(OUT),--out "$(OUT)")

clean-demo: ## remove tokens, database and documents of the demo
	rm -rf var/instance var/demo

test: setup-test ## everything: format, lint, types, contracts, dependencies, all tests
	@scripts/test $(ARGS)

check: setup-test ## the fast part of `test`: format, lint, types, contracts, dependencies
	@scripts/check

format: setup-test ## format and mend what can be mended by machine
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup-test ## measure speed against named yardsticks, into var/bench/results.json (ONLY=name for one, FULL=1 for the largest tables)
	@$(if $(FULL),FULL=1 )$(BIN)/python -m benchmarks $(if $(ONLY),--only "$(ONLY)")

requirements: ## print which test proves which duty (after `make test`)
	@$(BIN)/python scripts/requirements.py

lock: ## pin the dependencies of pyproject.toml anew
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --group dev --generate-hashes --no-emit-index-url --no-strip-markers \
	  --no-header --no-annotate -o requirements.lock

docs: setup-test ## take the pictures of the README and the documentation anew
	@$(BIN)/python scripts/pictures.py

setup: ## install what the platform and the demo need
	@scripts/setup

setup-test: ## install what the tests need besides
	@scripts/setup --test
