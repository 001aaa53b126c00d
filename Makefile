# Every command of the course. `make` alone prints this list.
PYTHON ?= python3
LAB_ARGS ?=
TEST_ARGS ?=
LESSON ?=
EXERCISE ?=
REPO ?=
GRADE_ARGS ?=

COURSE := .venv/bin/python -m autograder
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help environment learn fetch progress reset test test-all build check grade grade-demo bench publish clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

environment:  ## create or refresh .venv (the other commands do it themselves)
	@$(PYTHON) scripts/setup_env.py

learn: environment  ## open the course in JupyterLab (LAB_ARGS="--port 9000" passes options on)
	@$(COURSE) learn $(LAB_ARGS)

fetch: environment  ## put the course's newest notebook beside yours (LESSON=01_accumulated_metrics)
	@$(COURSE) fetch $(LESSON)

progress: environment  ## show which exercises are solved, attempted, untouched
	@$(COURSE) progress

reset: environment  ## put one empty exercise back, keep your answer (LESSON=01 EXERCISE=fix_validate)
	@$(COURSE) reset "$(LESSON)" "$(EXERCISE)"

test: environment  ## run the test suite (TEST_ARGS="-k name" passes options on)
	@.venv/bin/python -m pytest -n 2 --dist loadgroup -m "not slow" $(TEST_ARGS)

test-all: environment  ## the same and the tests marked slow
	@.venv/bin/python -m pytest -n 2 --dist loadgroup $(TEST_ARGS)

build: environment  ## lessons/*.py -> solutions/ and notebooks/
	@$(COURSE) build

check: environment  ## prove that notebooks match the lessons, stubs fail, answers pass, cheats fail
	@$(COURSE) check

grade: environment  ## grade what was handed in (LESSON=01_accumulated_metrics GRADE_ARGS="--workers 4")
	@$(COURSE) grade "$(LESSON)" $(GRADE_ARGS)

grade-demo: environment  ## grade a small made-up class with nbgrader and show the scores
	@$(COURSE) grade-demo

BENCHMARKS := $(filter-out %/on_gpu.py %/pytorch_tests.py %/pageable_copies.py,$(wildcard benchmarks/*.py))

bench: environment  ## run the benchmarks, ratios side by side (those that need a GPU or a file are run by hand)
	@for file in $(BENCHMARKS); do echo "== $$file"; .venv/bin/python $$file || exit 1; done

publish: environment  ## write launch badges and links (REPO=owner/name; default: the git remote)
	@$(COURSE) publish $(REPO)

clean:  ## remove what the commands made: caches, screenshots, .venv (never my_work/)
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis screenshots *.egg-info
	find . -path ./my_work -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
