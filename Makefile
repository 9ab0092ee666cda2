PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv/.peers

.PHONY: setup demo test check format bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing recurra and its dependencies into .venv (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[text,music,forecast,speech,video,dev]'
	@touch $(STAMP)

demo: setup
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m recurra demo  # threads that sleep while they wait, for a shared machine

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(PEERS)
	$(BIN)/python -m benchmarks

$(PEERS): $(STAMP)
	@echo "Installing the libraries to compare with ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--only-binary jax,jaxlib,kaldi-native-fbank,minGRU-pytorch,onnx,onnxruntime,pytorch-crf,scikit-learn,torchrecurrent \
		--editable '.[text,music,forecast,speech,video,dev,bench]'
	@touch $(PEERS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist
