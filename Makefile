# `make` alone lists what there is. Needs: make, Python 3.11 or 3.12 with venv. Everything is installed into .venv.
PYTHON ?= python3.11
PYTEST_ARGS ?=
SERVE_ARGS ?=
SYSTEM_PACKAGES := chromium dcmtk dicom3tools orthanc orthanc-dicomweb postgresql

# One Ray on one machine, reached from this machine only. What cluster.yaml starts has token authentication on.
export RAY_AUTH_MODE ?= disabled
export RAY_DATA_USE_DATASOURCE_V2 ?= 0
export RAY_DATA_DISABLE_PROGRESS_BARS ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0

venv := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help demo serve test test-all check lint system-packages lock clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-24s%s\n", $$1, $$2 }'

demo: .venv/installed ## train, evaluate and restore on generated phantoms: the main job in one go
	$(venv) jobs/demo.py

serve: .venv/installed ## the service and its page on this machine, with the demo's model (made first if missing); SERVE_ARGS="--http.port 8001"
	@case "$(SERVE_ARGS)" in *--model*) ;; *) ls -d demo-output/storage/demo-*/checkpoints >/dev/null 2>&1 || $(venv) jobs/demo.py ;; esac
	@exec $(venv) -m serve.start $(SERVE_ARGS)

test: .venv/installed ## the default test suite; PYTEST_ARGS="-k dicom" passes options on
	$(venv) -m pytest $(PYTEST_ARGS)

test-all: .venv/installed ## the default suite and the slow tests
	$(venv) -m pytest --slow $(PYTEST_ARGS)

check: lint test ## format, lint, types, then the default suite

lint: .venv/installed ## format, lint and types, without the tests
	$(venv) -m ruff format --check .
	$(venv) -m ruff check .
	$(venv) -m mypy

system-packages: ## install the programs that tests marked `system` use (Debian, Ubuntu; root or sudo)
	@missing=; for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f='$${Status}' "$$package" 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then echo "already installed: $(SYSTEM_PACKAGES)"; exit 0; fi; \
	command -v apt-get >/dev/null || { echo "no apt-get here; install by your own means:$$missing" >&2; exit 1; }; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $$missing

# The stamp is written last and holds the folder: an interrupted installation leaves none, and in a moved or copied
# repository it is out of date, because the editable install points to the old folder.
ifneq ($(shell cat .venv/installed 2>/dev/null),$(CURDIR))
.PHONY: .venv/installed
endif
.venv/installed: requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "$(PYTHON) is not Python 3.11 or 3.12; say which one to use: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@rm -f $@
	"$(PYTHON)" -m venv .venv
	$(venv) -m pip install --disable-pip-version-check --quiet -r requirements.lock
	$(venv) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@pwd -P > $@

# What torch's wheel on PyPI brings for CUDA stays out: pip adds it where that wheel is installed, a CPU wheel needs none.
# But for Triton, which the tests interpret on a CPU: in the version that torch's CUDA build asks for, or both would not install.
lock: ## write requirements.lock anew from pyproject.toml (network)
	rm -rf build/lock
	"$(PYTHON)" -m venv build/lock
	build/lock/bin/python -m pip install --disable-pip-version-check --quiet setuptools -e '.[dev]'
	{ echo '# Every package of the platform and of its tests, pinned. Written by `make lock` from pyproject.toml; installed by pip.'; \
	  build/lock/bin/python -m pip freeze --all --exclude pip --exclude-editable > build/lock/frozen && \
	  sed 's/+[a-z0-9]*$$//' build/lock/frozen | grep -v -E '^(nvidia-|cuda-)'; } > build/lock/requirements.lock
	mv build/lock/requirements.lock requirements.lock
	rm -rf build/lock

clean: ## remove .venv, caches and what the demo wrote
	rm -rf .venv build dist demo-output .pytest_cache .mypy_cache .ruff_cache platform/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
