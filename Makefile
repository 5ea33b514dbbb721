# Each target does its own set-up: a virtual environment in .venv with the pinned packages.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# Where `make table` writes: `make table RESULTS=other`.
RESULTS := runs
# The sweeps that together are the paper's ablation table.
TABLE := $(addprefix sweeps/,$(addsuffix .yaml,\
	token_mixer pool_size normalization activation components hybrid_stages))

.PHONY: table test test-slow check docs notebooks jupyter lock clean

table: $(READY) ## train the paper's ablation table on the embedded images and print it
	@$(BIN)/ablations run $(TABLE) --recipe mini --results $(RESULTS) $(RUN_FLAGS)

test: $(READY) ## the tests
	$(BIN)/pytest -n 2 --dist worksteal

test-slow: $(READY) ## the tests that take minutes each
	$(BIN)/pytest -n 2 --dist worksteal -m slow

check: $(READY) ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY) ## build the documentation site into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: $(READY) ## run the notebooks again, keep what they show, and draw the README's figure
	$(BIN)/python scripts/run_notebooks.py notebooks/*.ipynb
	$(BIN)/python scripts/readme_figure.py

jupyter: $(READY) ## open the notebooks in a browser; installs JupyterLab, the extra `notebooks`
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --constraint requirements.lock --editable ".[notebooks]"
	$(BIN)/jupyter lab notebooks

lock: $(READY) ## pin the newest packages that fit pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" \
		--quiet --output-file requirements.lock

clean: ## remove the environment; results stay
	rm -rf .venv

# Bytecode is compiled once here: it saves seconds at the start of every worker.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode -r requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode --no-deps --editable .
	touch $@
