# `make demo`, `make test`, `make lint`: each works in a fresh clone, alone, with nothing but Python and make.
# PYTHON=/path/to/python chooses the interpreter; VENV=dir another virtual environment.
PYTHON ?= python3
VENV ?= .venv
SERVE ?=
FOLDER ?= screenshots
ARGS ?=

BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
CREATED := $(VENV)/.python-$(VERSION)
INSTALLED := $(VENV)/.installed

SPELLED := queued_storage docs example benchmarks README.rst CONTRIBUTING.rst SECURITY.md setup.cfg

.PHONY: demo test test-storages test-third-party matrix test-big stateful chaos memory operations killed bench mutations lint dist docs screenshots format clean help python
.DEFAULT_GOAL := help

help:
	@echo "make demo          upload pictures to a small site, watch workers move them to S3 (SERVE=1 leaves it running)"
	@echo "make test          the whole test suite (ARGS='-k name' is handed to pytest)"
	@echo "make test-storages every storage on its real server or emulator, which this installs (minutes)"
	@echo "make test-third-party thumbnails, Wagtail, django-filer and others on a chain, in an environment of their own (minutes)"
	@echo "make matrix        run the conformance kit on every storage, and write the matrix of the docs"
	@echo "make test-big      500 files of up to 20 MB through three tiers, while a reader compares them all (minutes)"
	@echo "make chaos         thousands of files while workers, brokers and lines are killed (SEED=, FILES=, KILLS=; minutes)"
	@echo "make memory        peak memory of a 2 GB transfer in each direction"
	@echo "make operations    each tiers command on 100,000 files: what it prints, and whether its memory stays flat (an hour)"
	@echo "make killed        20,000 files to S3 by commands that are killed five times (SEED=; minutes)"
	@echo "make bench         how fast files move, are saved and are read, beside rclone and plain Django (ARGS='--rows 1,3'; an hour)"
	@echo "make stateful      saves, deletes, workers, crashes and faults in any order, against a model (SEED=, STEPS=; minutes)"
	@echo "make mutations     sabotage the package in small ways, one at a time, and see that the tests notice (minutes)"
	@echo "make lint          style, types, direction of imports, missing migrations"
	@echo "make dist          sdist and wheel in dist/, built twice and compared: the same for everybody who builds them"
	@echo "make docs          build the documentation in docs/_build/html; a warning is an error"
	@echo "make screenshots   picture the admin in Chromium for the documentation; visit the example there, with axe-core (minutes)"
	@echo "make format        put the code into shape"
	@echo "make clean         remove what the other targets made"

demo: $(INSTALLED)-demo
	SERVE=$(SERVE) $(PY) example/demo.py

test: $(INSTALLED)-test
	$(PY) -m pytest -n 3 --dist worksteal $(ARGS)

test-storages: $(INSTALLED)-test
	tests/storages/install.sh $(PY)
	$(PY) -m pytest -n 3 --dist worksteal -m storages $(ARGS)
	$(PY) -m pytest -n 2 --dist loadgroup tests/storages $(ARGS)

test-third-party: $(INSTALLED)-test $(INSTALLED)-lint
	$(BIN)/tox -e third-party $(if $(ARGS),-- $(ARGS))

matrix: $(INSTALLED)-test
	tests/storages/install.sh $(PY)
	$(PY) -m pytest -n 2 --dist loadgroup -p tests.storages.matrix tests/storages/test_conformance.py $(ARGS)

test-big: $(INSTALLED)-test
	QUEUED_STORAGE_TEST_BIG=1 $(PY) -m pytest tests/worker/test_three_tiers.py $(ARGS)

chaos: $(INSTALLED)-test
	SEED=$(SEED) FILES=$(FILES) KILLS=$(KILLS) $(PY) -m tests.chaos $(ARGS)

memory: $(INSTALLED)-test
	$(PY) -m benchmarks.memory $(ARGS)

operations: $(INSTALLED)-test
	$(PY) -m benchmarks.operations $(ARGS)

killed: $(INSTALLED)-test
	SEED=$(SEED) $(PY) -m benchmarks.killed $(ARGS)

bench: $(INSTALLED)-bench
	$(PY) -m benchmarks $(ARGS)

stateful: $(INSTALLED)-test
	SEED=$(SEED) STEPS=$(STEPS) $(PY) -m tests.stateful

mutations: $(INSTALLED)-test
	$(PY) -m tests.mutations $(ARGS)

lint: $(INSTALLED)-test $(INSTALLED)-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $(SPELLED)
	$(BIN)/lint-imports
	$(BIN)/mypy --strict queued_storage tests/typing
	$(BIN)/pyright --pythonpath $(PY) tests/typing
	DJANGO_SETTINGS_MODULE=tests.settings $(PY) -m django makemigrations --check --dry-run

dist: $(INSTALLED)-lint
	rm -rf dist
	$(PY) tests/packaging/build_twice.py build/twice
	cp -r build/twice/one/dist dist

docs: $(INSTALLED)-docs
	$(PY) -m sphinx -b html -W --keep-going -d docs/_build/doctrees docs docs/_build/html $(ARGS)
	$(PY) docs/check_links.py docs/_build/html

screenshots: $(INSTALLED)-test $(INSTALLED)-screenshots
	$(PY) -m tests.screenshots $(ARGS)
	$(PY) -m tests.visit $(FOLDER)

format: $(INSTALLED)-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .tox build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each extra: installed anew only when the requirements changed.
$(INSTALLED)-%: setup.cfg pyproject.toml $(CREATED)
	$(PIP) install --editable '.[$*]'
	@touch $@

$(CREATED): | python
	@echo "making $(VENV) with $(PYTHON) ($(VERSION))"
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "error: '$(PYTHON) -m venv' failed; install the venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@touch $@

python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: '$(PYTHON)' was not found; install Python 3.11 or newer, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: '$(PYTHON)' is Python $(VERSION); 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
