# make run    a whole bin on this machine: simulated camera, real model, mock pins (installs the device side only)
# make test   every test        make lint   ruff and mypy --strict        make bench   the figures of the README
# make arm-count    Arm instructions of one inference, counted on emulated processors; UPDATE=1 accepts what has risen
PYTHON ?= python3
DEVICE := .venv-device
DEV := .venv

.PHONY: run test lint bench arm-count clean

run: $(DEVICE)/installed
	$(DEVICE)/bin/wastebin demo

test: $(DEV)/installed
	$(DEV)/bin/python -m pytest

lint: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy --strict device trainer

bench: $(DEV)/installed
	$(DEV)/bin/python -m benchmarks.run

arm-count: $(DEV)/installed
	$(DEV)/bin/python -m benchmarks.arm_count $(if $(UPDATE),--update)

$(DEVICE)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEVICE)
	$(DEVICE)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(DEV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[trainer,dev]'
	touch $@

clean:
	rm -rf $(DEVICE) $(DEV) build *.egg-info
