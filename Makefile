# The verbs of the project; `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test lint format lock demo bench down clean

help: ## List the verbs
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

run: $(VENV)/runtime ## Set everything up, run the five steps, stay up on http://127.0.0.1:8000
	@exec $(BIN)/python manage.py up

test: $(VENV)/runtime ## Run all tests on a database and a cache of their own
	@$(BIN)/python -m healthcloud.runtime.testing -n auto $(ARGS)

lint: $(VENV)/development ## Check formatting, style, types, templates and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy healthcloud fhir assets workflows studio
	$(BIN)/lint-imports
	$(BIN)/djlint --lint --quiet templates
	git ls-files -z 'templates/*.html' | xargs -0 -r $(BIN)/djade --check --target-version 5.2

format: $(VENV)/development ## Format code and templates
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	git ls-files -z 'templates/*.html' | xargs -0 -r $(BIN)/djade --target-version 5.2

lock: $(VENV)/development ## Compile the hashed requirements from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes \
		pyproject.toml --group test --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes \
		pyproject.toml --group test --group lint --output-file requirements-dev.txt

demo: $(VENV)/runtime ## Reset the sandbox of the running platform and run the five steps again
	@$(BIN)/python manage.py demo --fresh

bench: $(VENV)/runtime ## List the benchmark programs
	@grep -m1 -H '^"""' benchmarks/*.py | sed -E 's/^([^:]+):"""/\1\t/' | expand -t 40

down: $(VENV)/runtime ## Stop what `manage.py up` started
	@$(BIN)/python manage.py down

clean: ## Remove the virtual environment and all local data
	rm -rf $(VENV) var

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "HealthCloud needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@touch $@

$(VENV)/development: requirements-dev.txt $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@
