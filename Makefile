# Every target makes the virtual environment on first use; no other step is needed.

PYTHON ?= python3
DATABASE ?= sqlite
PORT ?= 3000

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# What the image of deploy/docker has.
IMAGE_EXTRAS := webserver postgres-storage celery k8s

# The tests of what is pure: rules, selections, outcomes, incidents, ticks.
PURE := $(addprefix mika_ops_tests/,rules documents alerting/test_incidents.py monitoring scheduling subtasks \
	email/test_dead_letter_rules.py email/outbox/test_send_rate.py email/outbox/test_record_size.py \
	orchestration/retention/test_policy.py \
	test_redaction.py test_timestamps.py)

export DAGSTER_HOME ?= $(CURDIR)

# Without bytecode, each of the many processes of a test run compiles again all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo dev test test-fast test-all test-mutation coverage lint deploy-check bench lock clean

demo: $(READY)
	@$(BIN)/python -m mika_ops.demo run --database $(DATABASE)

dev: $(READY)
	@$(BIN)/python -m mika_ops.demo dev --database $(DATABASE) --port $(PORT)

# Everything that a change needs on the way: both databases, a mail server, a real dagster dev.
test: $(READY)
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

# The parts that are pure: neither a database nor a server.
test-fast: $(READY)
	$(BIN)/python -m pytest --pure $(PURE)

# What CI runs: also series of kills, end-to-end runs of deployments, and more examples of hypothesis.
test-all: $(READY)
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest --thorough --numprocesses 3 --dist worksteal

# The branches of the pure parts that the fast tests reach, and those of the subtasks on SQLite; CI prints it.
coverage: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 -k "not postgres" --cov --cov-report term $(PURE)

# Changes the rules, the incidents and the tick, one expression at a time, and shows which changes no test notices.
test-mutation: $(READY)
	$(BIN)/python -m pip install --quiet "mutmut>=3.8,<3.9"
	nice $(BIN)/mutmut run
	$(BIN)/mutmut results

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint deploy/docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/docker/compose.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows deploy/dagster-plus/github-workflow.yml
	$(BIN)/kubernetes-validate --strict deploy/schedulers/cronjob.yaml
	$(BIN)/dagster-cloud ci check --dagster-cloud-connect-check=skip
	$(BIN)/dagster-cloud ci check --dagster-cloud-connect-check=skip --dagster-cloud-yaml-path deploy/dagster-plus/hybrid.yaml

deploy-check: $(READY)
	deploy/docker/check

bench: $(READY)
	$(BIN)/python -m bench

# Pins everything again, as new as pyproject.toml allows. The lock holds names, versions and hashes, no addresses.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --upgrade --quiet --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml $(foreach extra,$(IMAGE_EXTRAS),--extra $(extra)) --constraint requirements.lock \
		--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet \
		--output-file deploy/docker/requirements.lock

clean:
	rm -rf $(VENV) demo .dagster mutants .coverage*

# The pip that Python 3.11 brings takes twice the processor's time of a newer one, and compiles on one core only.
$(READY): pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps $(VENV)
	@echo "Installing into $(VENV)/ (once)…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	@touch $(READY)
