# make run    serve the complete example on http://127.0.0.1:8000
# make test   all tests, with PYTHON and then with the other Python versions of this machine
PYTHON ?= python3
VERSIONS = 3.11 3.12 3.13
V := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# One environment for each way of building. The tests' own has a debug build in the tree, so that a change to a Python
# file needs no step. The others hold a real install, and work in a folder from which the tree cannot be imported.
RUN := .venv-run-$V
BENCH := .venv-bench-$V
TEST := .venv-test-$V
ASAN := .venv-asan-$V
EXTRAS = test,lint
C_FILES := $(wildcard csrc/*/*.[ch])
SOURCES := pyproject.toml setup.py $(C_FILES)
MODULES := $(wildcard fastware_sse/*.py fastware_sse/*.pyi fastware_sse/demo/*.*)

# The other versions that run (a pyenv shim may not) and can build an extension, each as version=interpreter.
CAN_BUILD = import ensurepip, os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")
OTHERS = $(shell for v in $(filter-out $V,$(VERSIONS)); do for p in python$$v $$HOME/.pyenv/versions/$$v.*/bin/python3; \
	do "$$p" -c '$(CAN_BUILD)' 2>/dev/null && echo "$$v=$$p" && break; done; done)

.PHONY: run bench soak test test-other lint asan tsan clean
run: $(RUN)/stamp
	cd examples && ../$(RUN)/bin/python -m fastware_sse

bench: $(BENCH)/stamp
	cd benchmarks && ../$(BENCH)/bin/python run.py

soak: $(BENCH)/stamp
	cd benchmarks && ../$(BENCH)/bin/python soak.py

test: $(TEST)/stamp
	$(MAKE) -C tests/core test
	$(MAKE) -C tests/load test
	$(TEST)/bin/pytest
	@set -e; for other in $(OTHERS); do echo "== Python $${other%%=*}, without the e2e tests"; \
	$(MAKE) test-other PYTHON="$${other#*=}" EXTRAS=test; done

test-other: $(TEST)/stamp
	$(TEST)/bin/pytest -m 'not e2e'

lint: $(TEST)/stamp
	$(TEST)/bin/ruff check
	$(TEST)/bin/ruff format --check
	$(TEST)/bin/mypy
	$(TEST)/bin/clang-format --dry-run --Werror $(C_FILES) $(wildcard tests/*/*.[ch] benchmarks/*.c)
	$(TEST)/bin/codespell

asan: $(ASAN)/stamp
	cd tests && LD_PRELOAD="$$(cc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	../$(ASAN)/bin/pytest -p no:cacheprovider -m 'not e2e'

tsan:
	$(MAKE) -C tests/core tsan

$(RUN)/stamp: $(SOURCES) $(MODULES) | $(RUN)/bin/pip
	$(RUN)/bin/pip install -q '.[fastware]'
	touch $@

$(BENCH)/stamp: $(SOURCES) $(MODULES) | $(BENCH)/bin/pip
	$(BENCH)/bin/pip install -q '.[bench]'
	touch $@

$(TEST)/stamp: $(SOURCES) | $(TEST)/bin/pip
	FASTWARE_SSE_DEBUG=1 $(TEST)/bin/pip install -q -e '.[$(EXTRAS)]'
	touch $@

$(ASAN)/stamp: $(SOURCES) $(MODULES) | $(ASAN)/bin/pip
	FASTWARE_SSE_DEBUG=1 FASTWARE_SSE_SANITIZE=address $(ASAN)/bin/pip install -q '.[test]'
	touch $@

%/bin/pip:
	$(PYTHON) -m venv $*

clean:
	$(MAKE) -C tests/core clean
	$(MAKE) -C tests/load clean
	rm -rf .venv-* build benchmarks/build dist *.egg-info fastware_sse/*.so .*_cache
