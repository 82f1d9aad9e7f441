# Every entry a newcomer needs. The scripts do the work, so that they run where make is missing too.

.PHONY: help demo test headless check bench docs clean

help:
	@echo "make demo      stain a simulated field and show it in napari"
	@echo "make test      run the tests (make test ARGS='-k tiling -x')"
	@echo "make headless  run them where neither napari nor Qt is installed"
	@echo "make check     style, types, layers, manifest, documentation, workflows, licences"
	@echo "make bench     run the benchmarks; each prints one table"
	@echo "make docs      make old pictures of the window anew, and the documentation site in site/"
	@echo "make clean     remove the environments, the caches and the demo's output"

demo:
	@sh ./demo

test:
	@sh ./test $(ARGS)

headless:
	@sh ./scripts/headless.sh $(ARGS)

check:
	@sh ./scripts/check.sh

bench:
	@sh ./scripts/bench.sh

docs:
	@sh ./scripts/docs.sh

clean:
	rm -rf .venv .venv-headless demo-output build dist site .coverage .coverage.* htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
