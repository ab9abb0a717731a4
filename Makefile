# make demo   the whole chain on made-up heads, with a table of scores and a report at the end
# make test   lint, types, import layers and tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# What is known of T2 without any label: tumours are grey, the cochlea's fluid is bright.
RANGES := --set structure_ranges=[[0.2,0.8],[0.7,1.0]]
# Thinner patches than the preset's, and below 12 epochs for its 16, 6 for its 8: for the sake of time.
PATCH := --set patch_size=[64,64,16]
# One thread a core is fastest for networks this small; users of big machines set their own.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)

.PHONY: demo demo-model1 demo-model2 demo-model3 demo-cut demo-others demo-scores demo-more-scores test test-slow lint clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# make/make/p' Makefile

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# Two trainings at a time on one thread each are faster than one on two. One core gets the longest
# chain, the other what that does not wait for: one make would start whatever comes first.
CHAIN = OMP_NUM_THREADS=1 MAKEFLAGS= $(MAKE) --no-print-directory -f examples/paper/Makefile \
  VSUDA=$(BIN)/vsuda DATA=$(DEMO)/data OUT=$(DEMO)/work PRESET=small INPLANE=0.9 WORKERS=2 SAMPLE=3 \
  EPOCHS_2D='8 last' EPOCHS_3D='4 last' SEGMENT='--epochs 12 $(PATCH)' TEACH='$(PATCH)' \
  CUTSEG='--epochs 6 $(PATCH)' CUTSEG_FROM=model1 CURVE='$(RANGES)' \
  ADAPT='--set structure_share=0.5 --set lesion_copies=2 --set exclude_by_intensity=true $(RANGES)' \
  POSTPROCESS='--one-sided --snap'
stages = $(addprefix $(DEMO)/work/done/,$(1))

demo: $(VENV)/installed
	$(BIN)/vsuda phantom $(DEMO)/data --size tiny --workers 2 --skip-existing
	$(CHAIN) -j2 $(call stages,source crop-target_training)
	$(MAKE) --no-print-directory -j2 demo-scores demo-more-scores
	$(CHAIN) -j2 all
	@echo "report: $(DEMO)/work/report.html"

demo-model1:
	$(CHAIN) $(call stages,train-model1)

demo-model3: demo-model1 demo-cut
	$(CHAIN) $(call stages,train-model3)

demo-cut:
	$(CHAIN) $(call stages,cut crop-target_validation)

demo-others: demo-cut
	$(CHAIN) $(call stages,pseudo-3d train-source-only train-upper-bound)

demo-model2: demo-model1 demo-others
	$(CHAIN) $(call stages,train-model2)

demo-scores: demo-model3 demo-others
	$(CHAIN) $(call stages,$(addprefix score-,model3 model1 upper-bound translated source-only))

demo-more-scores: demo-model2
	$(CHAIN) $(call stages,score-model2)

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -m 'not slow' --cov

test-slow: $(VENV)/installed-test
	$(BIN)/pytest -m slow

clean:
	rm -rf $(DEMO) $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage .hypothesis
