# make study   the default study on the embedded suite, and report.html
# make study-full  the full study, five seeds (hours); goes on where it stopped
# make bench   speed beside transformers' Trainer, into benchmarks/speed.csv (seven minutes on a machine left alone)
# make test    notebooks and tests; make test SLOW=--slow also the few tests that take minutes; make notebooks only the notebooks
# make check   what a commit must pass: clean, export, README, no diff, lint, notebooks, tests
# make lab     JupyterLab on the notebooks
# make site    the documentation site (needs Quarto)
# make wheel   a wheel and an sdist in dist/

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STORE  ?= study
# processes of the tests, each on one core with up to 3 GiB
JOBS   ?= 2
SLOW   ?=
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
export TOKENIZERS_PARALLELISM := false
export HF_HUB_DISABLE_TELEMETRY := 1
# pip does not compile what it installs (that would be a minute); what is imported is compiled once, on its first use
unexport PYTHONDONTWRITEBYTECODE

.PHONY: study study-full bench test check lab site wheel lint notebooks readme export encoder clean

study: $(VENV)/.run
	$(BIN)/xitcal run --store $(STORE)
	@$(MAKE) --no-print-directory report.html

study-full: $(VENV)/.run
	$(BIN)/python scripts/full_study.py

bench: $(VENV)/.run
	OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(BIN)/python benchmarks/speed.py

report.html: $(STORE)/stages $(wildcard nbs/results/*/*.ipynb)
	$(BIN)/xitcal report --store $(STORE) --out report.html

# The stamp is written last: an installation that was interrupted starts afresh.
$(VENV)/.run: setup.py settings.ini constraints.txt
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f'xitcal needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}; try: make $(MAKECMDGOALS) PYTHON=python3.12')"
	@echo "Setting up $(VENV) (a minute or two)"
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e ".[dev]"
	@touch $@

# groups and their order are in tests/conftest.py
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder

test: $(VENV)/.dev
	$(PYTEST) tests $(SLOW)

notebooks: $(VENV)/.dev
	$(PYTEST) tests/test_notebooks.py

export: $(VENV)/.dev
	$(BIN)/nbdev_clean
	$(BIN)/nbdev_export

readme: $(VENV)/.dev
	$(BIN)/python tools/readme.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/python tools/lint_nb.py
	$(BIN)/python tools/fold_tests.py --check

check: export readme
	git diff --exit-code --stat
	@test -z "$$(git status --porcelain --untracked-files=normal)" || (git status --short; echo "Commit or remove these files first."; exit 1)
	$(MAKE) lint test SLOW=--slow

lab: $(VENV)/.dev
	$(BIN)/jupyter lab nbs

# Not nbdev_docs: it would write README.md as well, with image paths that do not exist.
site: $(VENV)/.dev
	@command -v quarto >/dev/null || (echo "make site needs Quarto (https://quarto.org)"; exit 1)
	$(BIN)/python -c "from nbdev.quarto import refresh_quarto_yml as settings; from nbdev.serve import proc_nbs; settings(); proc_nbs(force=True, n_workers=0)"
	cd _proc && quarto render --no-cache
	rm -rf _docs
	mv _proc/_docs _docs

wheel: $(VENV)/.dev
	rm -rf dist build
	$(BIN)/python -m build

clean:
	rm -rf build dist _proc _docs *.egg-info
