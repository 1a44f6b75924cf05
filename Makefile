# Rollcall, by hand: `make` lists what there is.
# Needs Python >= 3.11, make and a C compiler; everything else is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The programs of an environment name the folder that it was made in: in a copy of that folder they
# would run the original's code. So the stamp holds the folder, and elsewhere all is made anew.
HERE   := $(shell test "$$(cat $(STAMP) 2>/dev/null)" = "$$(pwd -P)" && echo yes)
# Hypothesis' and pytest's own options pass through, as in: make test PYTEST="-p no:randomly".
PYTEST ?=
# Of `make fuzz`: plays the same requests again; and shows one of them, by its number.
SEED   ?=
ONLY   ?=
# Of `make soak`: how many to play, and a new folder to leave logs and data in.
CALLBACKS ?=
KEEP      ?=
# Of `make bench`: LONG=1 measures for an hour, with 200,000 in backlog and 100,000 live rooms.
LONG   ?=

.DEFAULT_GOAL := help
.PHONY: help run demo test test-slow test-long door-differential outage fuzz faults soak bench-heart bench bench-smoke bench-audit semantics mutations audit-format sample-audit check format lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

run: $(STAMP)  ## start everything here and show derived events as they come
	@exec $(BIN)/rollcall up

demo: $(STAMP)  ## the same, and play a recorded room and an eviction through the door
	@exec $(BIN)/rollcall up --demo

test: $(STAMP)  ## the tests, against a Redis that they start themselves
	@$(BIN)/pytest -n 2 --dist worksteal -m "not slow" $(PYTEST)

test-slow: $(STAMP)  ## those that break processes, brokers and servers, in their short forms
	@$(BIN)/pytest -m slow $(PYTEST)

test-long: $(STAMP)  ## the laws of the heart over some hundred thousand histories
	@$(BIN)/pytest tests/room tests/workers/test_batches.py --hypothesis-profile=long --timeout=3600

outage: $(STAMP)  ## Redis paused for 30 s, killed for 60 s and back, with callbacks at 200 a second
	@$(BIN)/python tests/outage.py
	@$(BIN)/python tests/outage.py --kill-web

door-differential: $(STAMP)  ## verdicts on 60,000 signatures beside those of Twilio's own validator
	@$(BIN)/python tests/differential.py

fuzz: $(STAMP)  ## 200,000 hostile requests at the door; SEED=... plays the same again
	@PYTHONPATH=.:tests $(BIN)/python tests/fuzz_door.py $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

mutations: $(STAMP)  ## break promises of the code in a copy, and see that tests notice
	@$(BIN)/python tests/mutations.py

faults: $(STAMP)  ## break everything on purpose and check every callback; SEED=... ONLY="Redis"
	@PYTHONPATH=.:tests $(BIN)/python -m faults $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only "$(ONLY)")

soak: $(STAMP)  ## a million callbacks with faults at random, and whether memory grows; CALLBACKS=... SEED=...
	@PYTHONPATH=.:tests $(BIN)/python -m faults.soak $(if $(CALLBACKS),--callbacks $(CALLBACKS)) $(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep "$(KEEP)")

bench-heart: $(STAMP)  ## what a callback costs the heart, by the size and age of the room
	@PYTHONPATH=. $(BIN)/python benchmarks/heart.py

bench: $(STAMP)  ## Rollcall beside a plain receiver and its ceilings, into docs/performance.md
	@$(BIN)/python -m benchmarks $(if $(LONG),--long) --write docs/performance.md

bench-smoke: $(STAMP)  ## the same in seconds, only to see that it runs and counts right
	@$(BIN)/python -m benchmarks --smoke

bench-audit: $(STAMP)  ## what the audit costs, and what reading its log takes, into docs/
	@$(BIN)/python -m benchmarks.audit --write docs/performance.md
	@$(BIN)/python -m benchmarks.audit_memory --write docs/audit.md

semantics: $(STAMP)  ## write docs/semantics.md anew from what the heart does
	@PYTHONPATH=.:tests $(BIN)/python tests/semantics.py

audit-format: $(STAMP)  ## write the tables of docs/audit.md anew from the schema of the records
	@PYTHONPATH=.:tests $(BIN)/python tests/audit_document.py

sample-audit: $(STAMP)  ## write docs/sample-audit.html anew from two rooms' logs
	@PYTHONPATH=.:tests $(BIN)/python tests/audit_sample.py

check: $(STAMP)  ## ruff, mypy strict, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)  ## put the code into the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(STAMP)  ## pin the dependencies of pyproject.toml anew, with hashes
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --group dev --universal --upgrade \
	    --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-annotate --no-header --quiet --output-file constraints.txt
	@echo 'setuptools>=80' | $(BIN)/uv pip compile pyproject.toml - --constraints constraints.txt \
	    --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --no-header --quiet --output-file deploy/requirements.txt

clean:  ## remove the environment and what the tools left
	@rm -rf $(VENV) .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info build

# A half-made environment must not pass for a whole one, so the stamp comes last.
$(STAMP): constraints.txt pyproject.toml $(if $(HERE),,elsewhere)
	@command -v $(PYTHON) >/dev/null || { echo "Rollcall needs Python 3.11 or newer: no '$(PYTHON)' on the PATH."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rollcall needs Python 3.11 or newer: '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another with: make PYTHON=python3.12 ..."; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || { echo "Rollcall needs a C compiler for the packages that come as source: install gcc or clang (Debian: apt-get install gcc)."; exit 1; }
	@echo "Making the environment in $(VENV) ..."
	@$(PYTHON) -m venv $(if $(HERE),,--clear) $(VENV) || { echo "The 'venv' module is missing (Debian: apt-get install python3-venv)."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@pwd -P > $(STAMP)

.PHONY: elsewhere
elsewhere:
