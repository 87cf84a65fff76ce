# Two commands for a newcomer: `make quickstart` and `make test`. `make check` is the fast part of the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LOCK   := requirements/cpu.txt
RUN    ?= runs/quickstart

# Kept whatever the shell says: tests start some two hundred processes, and each would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: quickstart test check format install clean

quickstart: $(VENV)/.installed
	$(BIN)/strop models pull qwen2.5-coder-0.5b
	$(BIN)/strop round examples/quickstart.toml --run-dir $(RUN) --resume

test: check
	$(BIN)/python -m pytest -m model -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed build/links/strop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not model" -n 2 --dist worksteal

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.installed

# Exactly what was tested. torch first and with its dependencies (they differ by build and platform), the rest
# without: vLLM's CPU build names torchvision, torchaudio and torchcodec, whose builds do not fit the CPU torch,
# and bfcl-eval, taken only for its data, pins what would break everything else.
$(VENV)/.installed: $(LOCK) requirements/torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Strop needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "1/3 torch, into $(VENV)"
	@$(BIN)/python -m pip install -r requirements/torch.txt
	@echo "2/3 vLLM, TRL and the other $$(grep -c == $(LOCK)) pinned packages (a minute or two)"
	@$(BIN)/python -m pip install --no-deps -r $(LOCK)
	@echo "3/3 Strop"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The four directories under the names they are installed by, for the type checker.
build/links/strop:
	mkdir -p $@
	for d in tools agent refine training; do ln -sfnr $$d $@/$$d; done

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
