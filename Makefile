# Two commands for a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow bench bench-gpu docs install clean

demo: .venv/installed   ## four synthetic hospitals, four strategies, one table
	$(BIN)/relay compare -c demo

test: .venv/installed   ## lint, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal

slow: .venv/docs   ## the long tests, by hand; types as other systems see them
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/pytest -m slow

bench: .venv/installed   ## every benchmark, one table of ratios; leave the machine alone meanwhile
	$(BIN)/python benchmarks/all.py

bench-gpu: .venv/installed   ## everything about a step that needs a GPU: on GPU=0, unless you name another
	BENCH_GPU=$(or $(GPU),0) $(BIN)/python benchmarks/gpu.py
	BENCH_GPU=$(or $(GPU),0) $(BIN)/python benchmarks/all.py loop precision style parts
	$(if $(DATA),BENCH_GPU=$(or $(GPU),0) $(BIN)/python benchmarks/peers.py --data $(DATA))

docs: .venv/docs   ## the docs site: open build/docs/index.html
	$(BIN)/sphinx-build -q -E -W --keep-going -c docs -d build/doctrees . build/docs

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
