# Everything below runs on a machine with nothing but make, python3 >= 3.11 and the package registries.
# `make demo` and `make test` create .venv when it is absent and install exactly what constraints.txt says.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
LOG := $(VENV)/install.log
comma := ,

# The environment is installed again when what defines it changes, when the folder has moved, or when its
# Python is gone.
KEY := $(shell test -x $(RUN) || rm -f $(VENV)/.ready-*; { cat pyproject.toml constraints.txt; pwd; } | cksum | cut -d ' ' -f 1)
DEMO_READY := $(VENV)/.ready-demo-$(KEY)
TEST_READY := $(VENV)/.ready-test-$(KEY)

# settings of the caller's shell that would let other packages in, or ours out
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1
# figures go to files, with or without a display
export MPLBACKEND = Agg

.PHONY: help demo test lint types bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo 'make demo    recover sparse signals from real measurements: a table, and figures in demo-output/'
	@echo '             field data from a folder of your own: make demo SPARSEINV_DATA=folder'
	@echo 'make test    run the test suite'
	@echo 'make lint    ruff'
	@echo 'make types   mypy, strict'
	@echo 'make bench   time the import and the first solve: benchmarks/results/latency.json'
	@echo 'make clean   remove demo-output/, the caches and .venv'
	@echo
	@echo 'demo and test install what they need into .venv first. Another Python: make demo PYTHON=python3.12'

# SPARSEINV_DATA, from the environment or the command line of make, reaches the demo like any variable
demo: export SPARSEINV_DATA := $(SPARSEINV_DATA)
demo: $(DEMO_READY)
	@$(RUN) -m sparseinv demo all --out demo-output

test: $(TEST_READY)
	@$(RUN) -m pytest -q

lint: $(TEST_READY)
	@$(RUN) -m ruff check .

types: $(TEST_READY)
	@$(RUN) -m mypy

bench: $(TEST_READY)
	@$(RUN) benchmarks/latency.py

clean:
	rm -rf $(VENV) demo-output dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Accept an environment that works, else make one; say what is wrong with this Python before anything else.
define ensure_venv
if ! $(RUN) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
  if ! command -v $(PYTHON) >/dev/null 2>&1; then \
    echo 'sparseinv needs Python 3.11 or later, and there is no command "$(PYTHON)" here.' >&2; \
    echo 'Install Python, or name the one to use: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; exit 1; \
  fi; \
  if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
    echo "sparseinv needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
    for other in python3.13 python3.12 python3.11; do \
      if $$other --version >/dev/null 2>&1; then \
        echo "$$other is installed here: make $(MAKECMDGOALS) PYTHON=$$other" >&2; exit 1; \
      fi; \
    done; \
    echo 'Install a newer one and name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; exit 1; \
  fi; \
  if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
    echo '$(PYTHON) comes without its modules venv and ensurepip, which create the environment.' >&2; \
    echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; \
  fi; \
  echo "Creating $(VENV) with $$($(PYTHON) --version) ..."; \
  $(PYTHON) -m venv --clear $(VENV) || { echo 'could not create $(VENV): see above' >&2; exit 1; }; \
fi
endef

# $(1): extras. One line a download; the whole log stays in .venv/install.log, its end is shown on failure
# (without pip's remarks on local package folders that do not exist). The build backend comes first, pinned
# like the rest, so that nothing is fetched outside constraints.txt.
define install
echo 'Installing sparseinv[$(1)] and its dependencies into $(VENV): one to three minutes the first time.'; \
rm -f $(VENV)/.ready-* $(VENV)/.failed; \
{ { $(RUN) -m pip install -c constraints.txt hatchling editables && \
    $(RUN) -m pip install -c constraints.txt --no-build-isolation -e '.[$(1)]'; \
  } 2>&1 || echo failed >$(VENV)/.failed; } | tee $(LOG) | while IFS= read -r line; do \
  case "$$line" in \
    *.metadata*) ;; \
    *Downloading*.whl*|*Using\ cached*.whl*) \
      echo "$$line" | sed -E 's/.*(Downloading|Using cached) ([^-]+)-([^-]+)-.*\(/  \2 \3 (/' ;; \
    *Installing\ collected*) echo '  unpacking ...' ;; \
  esac; \
done; \
if test -e $(VENV)/.failed; then \
  echo; echo 'The installation failed. The end of $(LOG):' >&2; \
  grep -v 'WARNING: Location .* is ignored' $(LOG) | tail -n 30 >&2; exit 1; \
fi
endef

$(DEMO_READY):
	@$(ensure_venv)
	@$(call install,demo)
	@touch $@

$(TEST_READY):
	@$(ensure_venv)
	@$(call install,test$(comma)demo)
	@touch $@ $(DEMO_READY)
