# Each target makes its own environment: a fresh machine needs Python 3.11 or newer and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
ENV := .venv/.installed
IN := .venv/bin

.PHONY: demo test test-long test-nnunet test-gpu lint docs bench clean

demo: $(ENV)  ## made-up mammograms, four trained networks, one page
	$(IN)/massmatch demo

test: $(ENV)  ## the suite
	$(IN)/pytest -m "not long and not gpu" --numprocesses auto --dist worksteal

test-long: $(ENV)  ## what takes longer
	$(IN)/pytest -m long --numprocesses auto --dist worksteal

test-nnunet: .venv-nnunet/.installed  ## a whole run within nnU-Net, apart: its torchvision does not load beside a torch for the CPU
	.venv-nnunet/bin/pytest -m long tests/integrations/test_nnunet_trainer.py

test-gpu: $(ENV)  ## what needs an NVIDIA GPU, and a torch built for it in the place of constraints.txt's
	$(IN)/pytest -m gpu

lint: $(ENV)
	$(IN)/ruff check .
	$(IN)/ruff format --check .
	$(IN)/mypy

docs: $(ENV)  ## the site, in docs/_build
	$(IN)/sphinx-build -W --keep-going -q -b html docs docs/_build

bench: $(ENV)  ## how fast everything is, beside others: writes docs/benchmarks.md, some five minutes
	$(IN)/python benchmarks/write.py

$(ENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(IN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(IN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv-nnunet/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-nnunet
	.venv-nnunet/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	.venv-nnunet/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable '.[nnunet,report,dicom]' pytest hypothesis beartype
	touch $@

clean:
	rm -rf .venv .venv-nnunet demo runs docs/_build
