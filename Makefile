# Everything a developer types. `make` alone lists the targets.

PYTHONS := python3.11 python3.12 python3.13 python3
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv-peers
TORCH := $(shell grep '^torch==' constraints.txt)
# Nothing below needs the network once installed; say so to the libraries that would otherwise look.
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check format bench bench-table bench-peers reliability wheel clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv and install Shortlist with everything the other targets need

demo: $(STAMP) ## train, build, search and evaluate on the built-in store (artifacts/demo)
	$(BIN)/shortlist demo --out artifacts/demo

test: $(STAMP) ## run every test
	$(BIN)/python -m pytest

check: $(STAMP) ## lint, formatting, types, import rule, version against changelog
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_changelog.py

format: $(STAMP) ## rewrite the sources the way `make check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure speed beside its peers on this machine (tools/bench/results; an hour)
	$(BIN)/python -m tools.bench.speed.run

bench-table: $(STAMP) ## put the newest results of `make bench` into docs/evaluation.md and docs/pictures
	$(BIN)/python -m tools.bench.speed.publish

bench-peers: $(STAMP) $(PEERS)/.installed ## measure Shortlist beside what one would write with other libraries (half an hour and more)
	test -d artifacts/demo/models || $(BIN)/shortlist demo --out artifacts/demo
	$(BIN)/python -m tools.bench.peers.run

reliability: $(STAMP) ## kill, starve, race and corrupt in full, as docs/reliability.md promises (tools/bench/results)
	$(BIN)/python -m tools.reliability.run

wheel: $(STAMP) ## build the wheel into dist/ and check it in a clean environment
	$(BIN)/python tools/check_wheel.py --out dist

clean: ## remove what the targets made, .venv and artifacts excepted
	rm -rf dist build .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# torch comes first and alone, so that a build which is already there or chosen by the user's index is taken as it is.
$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python -c '' 2>/dev/null || { \
	  for python in $(PYTHONS); do \
	    $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && found=$$python && break; \
	  done; \
	  test -n "$$found" || { echo "Shortlist needs Python 3.11, 3.12 or 3.13; tried: $(PYTHONS). Install one and run make again." >&2; exit 4; }; \
	  echo "creating .venv with $$($$found --version)"; $$found -m venv --clear .venv; }
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt '$(TORCH)'
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[cpu,eval,fast,minilm,train,dev]'
	@touch $@

# The peers live apart: nothing of theirs may decide which versions Shortlist is tested with.
$(PEERS)/.installed: tools/bench/peers/requirements.txt constraints.txt | $(STAMP)
	$(BIN)/python -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check '$(TORCH)'
	$(PEERS)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -r tools/bench/peers/requirements.txt
	@touch $@
