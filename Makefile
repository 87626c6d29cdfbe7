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

# The peers have an environment of their own: three of them ask for versions that exclude one another, work
# with those of benchmarks/constraints.txt all the same, and are installed without their dependencies. Where
# there is no wheel of one for this Python, the comparison reports it as absent.
PEERS := .venv-bench
PEERS_RUN := $(PEERS)/bin/python
PEERS_KEY := $(shell test -x $(PEERS_RUN) || rm -f $(PEERS)/.ready-*; { cat pyproject.toml benchmarks/constraints.txt; pwd; } | cksum | cut -d ' ' -f 1)
PEERS_READY := $(PEERS)/.ready-$(PEERS_KEY)
ARGS ?= single path cv batch free --repeats 3

# settings of the caller's shell that would let other packages in, or ours out
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1
# figures go to files, with or without a display
export MPLBACKEND = Agg

.PHONY: help demo test lint types bench bench-peers clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo 'make demo    recover sparse signals from real measurements: a table, and figures in demo-output/'
	@echo '             field data from a folder of your own: make demo SPARSEINV_DATA=folder'
	@echo 'make test    run the test suite'
	@echo 'make lint    ruff'
	@echo 'make types   mypy, strict'
	@echo 'make bench   time the import and the first solve: benchmarks/results/latency.json'
	@echo 'make bench-peers   compare with other packages, in .venv-bench: benchmarks/results/peers.md, .jsonl'
	@echo '             an hour or more; a part of it: make bench-peers ARGS="single --cells gauss/10 --size s"'
	@echo 'make clean   remove demo-output/, bench-output/, the caches and both environments'
	@echo
	@echo 'demo and test install what they need into .venv first. Another Python: make demo PYTHON=python3.12'

# SPARSEINV_DATA, from the environment or the command line of make, reaches the demo like any variable
demo: export SPARSEINV_DATA := $(SPARSEINV_DATA)
demo: $(DEMO_READY)
	@$(RUN) -m sparseinv demo all --out demo-output

# two processes, a file in one of them: half the time on two cores. One thread of BLAS each: more would wait for
# one another, and tests have time limits
test: $(TEST_READY)
	@OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 --dist loadfile

lint: $(TEST_READY)
	@$(RUN) -m ruff check .

types: $(TEST_READY)
	@$(RUN) -m mypy

bench: $(TEST_READY)
	@$(RUN) benchmarks/latency.py

bench-peers: $(PEERS_READY)
	@$(PEERS_RUN) benchmarks/compare.py $(ARGS) --out benchmarks/results/peers.jsonl
	@$(PEERS_RUN) benchmarks/report.py --plots bench-output

clean:
	rm -rf $(VENV) $(PEERS) demo-output bench-output dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

$(PEERS_READY): VENV := $(PEERS)
$(PEERS_READY): RUN := $(PEERS_RUN)
$(PEERS_READY):
	@$(ensure_venv)
	@echo 'Installing sparseinv and its peers into $(PEERS): a few minutes the first time.'
	@rm -f $(PEERS)/.ready-*
	@{ $(RUN) -m pip install -c benchmarks/constraints.txt hatchling editables && \
	   $(RUN) -m pip install -c benchmarks/constraints.txt --no-build-isolation -e . \
	     matplotlib scikit-learn pylops pyproximal spgl1 ipython; \
	 } >$(PEERS)/install.log 2>&1 || { \
	   echo 'The installation failed. The end of $(PEERS)/install.log:' >&2; \
	   grep -v 'WARNING: Location .* is ignored' $(PEERS)/install.log | tail -n 30 >&2; exit 1; }
	@for peer in '--no-deps celer' '--no-deps skglm' '--no-deps adelie' '--no-deps sparho' sigpy cvxpy; do \
	  $(RUN) -m pip install -c benchmarks/constraints.txt --only-binary :all: $$peer \
	    >>$(PEERS)/install.log 2>&1 || echo "  $${peer#--no-deps } could not be installed: it will be reported as absent"; \
	done
	@touch $@
