# Two commands: `make book` and `make test`. Everything else is listed by `make help`.

PYTHON ?=
INSTALLER ?= uv
PORT ?= 8000
PEERS_PYTHON ?= python3.12

# One thread and one hash seed wherever a digit could move with them; no settings of the user's own.
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export VECLIB_MAXIMUM_THREADS := 1
export PYTHONHASHSEED := 0
export PYTHONUTF8 := 1
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export IPYTHONDIR := $(CURDIR)/.cache/ipython
export JUPYTER_PLATFORM_DIRS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP MATPLOTLIBRC MPLBACKEND EVALKIT_RESULTS EVALKIT_DATA

py := .venv/bin/python
rerun := .cache/results
two := -n 2 --dist loadfile # by file: nbval needs a notebook's cells in one kernel, in order
built := book/_build
html := $(built)/html
restricted := $(built)/restricted
# A page with a warning is not read again, and so would pass, unless what was read is forgotten.
build := { rm -rf $(html)/_modules; .venv/bin/jupyter-book build $(built)/stage --path-output book -W -n --keep-going --quiet \
	|| { rm -rf $(built)/.doctrees; echo "evalkit: the book was not built; see above" >&2; exit 1; }; }
browser = $(or $(CHROMIUM),$(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name)))))
lock := $(py) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help book test check notebooks data simulate lab serve check-web lock clean .venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "  options: PYTHON=python3.12 (which Python makes .venv), INSTALLER=pip (instead of uv), PORT=8000 (serve)"
	@echo "           ONLY=\"did reversals\" (which cells), DRAWS=100 (fewer), SAVE=1 (store) (simulate)"

ifdef DATA
book: .venv
	@$(py) tools/notebooks.py restricted "$(DATA)"
	@.venv/bin/jupyter-book build $(restricted)/stage --path-output $(restricted) -W -n --keep-going --quiet
	@echo "The book with your tables: file://$(CURDIR)/$(restricted)/_build/html/index.html"
else
book: .venv ## execute the notebooks and build the book; DATA=folder runs the county study on other tables
	@$(py) tools/notebooks.py stage
	@if [ -f $(html)/index.html ] && cmp -s $(built)/.inputs $(built)/.done; then echo "evalkit: nothing has changed"; \
	else rm -f $(built)/.done && $(build) && $(py) -m pytest -q tests/test_html.py && cp $(built)/.inputs $(built)/.done; fi
	@echo "The book: file://$(CURDIR)/$(html)/index.html"
endif

test: .venv lint ## every check: style, types, floors, unit tests, laws, doctests, notebooks
	$(py) -m pytest -q $(two) --doctest-modules src tests
	@rm -rf $(rerun)
	EVALKIT_RESULTS=$(CURDIR)/$(rerun) $(py) -m pytest -q $(two) --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 120 notebooks
	$(py) tools/notebooks.py compare $(rerun)
	$(py) tools/notebooks.py prove

check: .venv lint ## every check but the slow tests, the doctests and the notebooks
	$(py) -m pytest -q $(two) -x -m "not slow" tests

.PHONY: lint
lint: .venv
	$(py) -m ruff check .
	$(py) -m ruff format --check .
	$(py) -m mypy
	.venv/bin/lint-imports

notebooks: .venv ## re-execute the notebooks and save outputs and results/, to be committed
	$(py) tools/notebooks.py save

data: .venv ## simulate the committed study anew and compare every byte (SAVE=1 replaces it)
	$(py) tools/data.py $(if $(SAVE),--save)

simulate: .venv ## run the simulations again and hold them against the stored tables (hours)
	nice -n 10 $(py) -m simulations $(if $(ONLY),--only "$(ONLY)") $(if $(DRAWS),--draws $(DRAWS)) \
		$(if $(SAVE),--save)

bench: .bench/.stamp ## time evalkit beside other packages (hours; SUITE=value_added, BENCH="--tasks cs")
	PYTHONPATH=src .bench/bin/python benchmarks/run.py $(or $(SUITE),did) $(BENCH)

.bench/.stamp: benchmarks/requirements-peers.lock
	$(PEERS_PYTHON) -m venv --clear .bench # one of the packages needs Python 3.12
	.bench/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps -r $<
	@touch $@

lab: .venv ## open the notebooks in JupyterLab
	$(py) -m jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

serve: book ## build the book and serve it on this machine
	@echo "http://127.0.0.1:$(PORT)"
	@$(py) -m http.server $(PORT) --bind 127.0.0.1 --directory $(html)

check-web: book ## look at the pages in a browser: accessibility, requests, overflow (needs chromium)
	@if ! command -v node >/dev/null; then echo "SKIPPED: the pages were not looked at, node is missing"; \
	elif [ -z "$(browser)" ]; then echo "SKIPPED: the pages were not looked at, chromium is missing"; \
	else CHROMIUM="$(browser)" node tools/web_check.mjs $(PAGES); fi

lock: .venv ## resolve the locks again (UPGRADE=--upgrade moves every pin)
	$(lock) --extra dev pyproject.toml -o requirements.lock
	$(lock) --no-deps --group data-files -o requirements-data.lock
	$(lock) --group spark -c requirements.lock -o requirements-spark.lock
	$(lock) --group bootstrap -c requirements.lock -o requirements-bootstrap.lock
	$(subst 3.11,3.12,$(lock)) benchmarks/requirements-peers.in pyproject.toml -o benchmarks/requirements-peers.lock

clean: ## remove what was built; the environment and what is proven stay
	rm -rf $(built) .cache/results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv:
	@PYTHON="$(PYTHON)" INSTALLER="$(INSTALLER)" tools/bootstrap.sh
