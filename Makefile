# Every target makes the virtual environment on first use; no other step is needed.

PYTHON ?= python3
DATABASE ?= sqlite
PORT ?= 3000

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# What the image of deploy/docker has.
IMAGE_EXTRAS := webserver postgres-storage celery k8s

export DAGSTER_HOME ?= $(CURDIR)

.PHONY: demo dev test lint deploy-check bench lock clean

demo: $(READY)
	@$(BIN)/python -m mika_ops.demo run --database $(DATABASE)

dev: $(READY)
	@$(BIN)/python -m mika_ops.demo dev --database $(DATABASE) --port $(PORT)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

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
	rm -rf $(VENV) demo .dagster

# The pip that Python 3.11 brings takes twice the processor's time of a newer one.
$(READY): pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps $(VENV)
	@echo "Installing into $(VENV)/ (once)…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)
