# What is done with a checkout, one word each. Everything but `check` wants `pip install -e '.[test]'`.

.PHONY: check test lint docs generated bench fuzz search kill

check:  ## the gate: fresh environments, everything that has to pass
	.ci/run

test:  ## the tests of the embedded default
	pytest

lint:
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	codespell

generated:  ## write the pages that are generated
	python docs/generate_commands.py
	python docs/generate_api.py
	python docs/generate_troubleshooting.py

docs: generated  ## build the site into site/; wants `pip install -e '.[docs]'`
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

bench:
	python -m benchmarks --markdown

fuzz:  ## an hour of mutated files
	python tests/fuzz.py --minutes 60

search:  ## the properties, with examples that were not tried before
	pytest --hypothesis-profile=search $(shell grep -rl "^from hypothesis" tests --include="test_*.py")

kill:  ## SIGKILL at every step of every command
	python tests/durability/kill_points.py
