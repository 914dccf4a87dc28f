# `make` lists what can be done. Every target can be run again and is quick the second time.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build demo test clients bench siege frames train trainers fuzz lint sbom clean distclean

# For example: make setup SETUP_ARGS=--offline
SETUP_ARGS ?=
# Seconds that each fuzz target, the siege and the fuzzing of frames run.
TIME ?= 600
# Where the demo writes its run folder.
OUT ?= demo-run
# For example: make train TRAIN_ARGS="--folds 2 --minutes 20" (recipes/train/train.py --help)
TRAIN_ARGS ?=

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
TIMED := scripts/timed.sh

help: ## list the targets
	@echo "Pairwright. Start with: make demo"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## fetch ONNX Runtime, llama-server, a small LLM and the crates (pinned, hash-checked)
	@echo "== setup: tools, run-time parts (scripts/parts.json), crates (Cargo.lock)"
	@scripts/check-tools.sh
	@$(TIMED) "setup, run-time parts" python3 scripts/setup.py $(SETUP_ARGS)
	@$(TIMED) "setup, crates" cargo fetch --locked --target $(HOST)

build: compile-release ## build the release binary

compile-%: setup
	@echo "== build: the first one compiles every dependency and takes some minutes"
	@$(TIMED) build cargo build --profile $* --locked

demo: compile-quick ## set up, build and run the whole job on samples/
	@echo "== demo: seeds and photos of samples/ to instructions and a dataset in $(OUT)/"
	@$(TIMED) demo $(TARGET_DIR)/quick/pairwright run --config samples/demo.toml --out $(OUT)
	@echo "   open $(OUT)/report.html in a browser (Linux: xdg-open, macOS: open)"

test: setup clients ## set up and run all tests
	@test -d ../shared || echo "   NOTE: no ../shared here: tests that compare with its photos and labels are skipped"
	@$(TIMED) "tests of the set-up" python3 -m unittest discover --start-directory scripts
	@$(TIMED) "tests of the recipes" python3 -m unittest discover --start-directory recipes/train
	@$(TIMED) tests cargo test --profile quick --locked --all-features

# Programs that call the service in tests and nobody here wrote. Without them those tests say so and
# pass: their wheels are for Linux x86-64 and a pinned set of Python versions.
clients: runtime/clients
	@test -x runtime/clients/bin/buf || echo "   NOTE: no buf and grpcio here, so tests with them are skipped"

runtime/clients: tests/clients/requirements.txt
	@echo "== clients: buf and Python's grpcio, for the tests of the service"
	@rm -rf $@ && python3 -m venv $@
	@$@/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes \
		--requirement $< || echo "   NOTE: they cannot be installed on this machine"

# 1001000 for a million: some 20 minutes to embed once, and an hour to search.
BENCH_TEXTS ?= 101000
BENCH_VECTORS := $(TARGET_DIR)/bench/texts/$(BENCH_TEXTS).npy
bench: build runtime/bench-venv/ok $(if $(wildcard /usr/share/wordnet),$(BENCH_VECTORS)) ## run all benchmarks, with Python beside ours, and draw a page of them
	@$(TIMED) bench cargo bench --locked
	@$(TIMED) "bench, service" cargo bench --locked --bench serve_load -- throughput 6
	@if test -e $(BENCH_VECTORS); then \
		$(TIMED) "bench, search" cargo bench --locked --bench search_peers -- $(abspath $(BENCH_VECTORS)); \
	else echo "   SKIPPED: no texts for search_peers here, install the package wordnet-base"; fi
	@runtime/bench-venv/bin/python benches/page.py

$(BENCH_VECTORS): benches/texts.py | build
	@mkdir -p $(@D)
	@python3 benches/texts.py $(BENCH_TEXTS) $(@:npy=txt)
	@$(TIMED) "bench, texts" $(TARGET_DIR)/release/pairwright embed --texts $(@:npy=txt) --out $(@:.npy=)

# `ok` is touched last, so that an environment that was left half made is made anew.
BENCH_PIP = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check
runtime/bench-venv/ok: benches/requirements.txt benches/requirements-peers.txt
	@echo "== bench: a Python environment with the packages of benches/requirements.txt"
	@rm -rf $(@D) && python3 -m venv $(@D)
	@$(BENCH_PIP) --requirement $<
	@sed 's/#.*//' benches/requirements-peers.txt | while read -r package; do test -z "$$package" || \
		$(BENCH_PIP) "$$package" </dev/null || echo "   NOTE: no $$package on this machine: search_peers goes without it"; done
	@touch $@

# Environments of the recipes (docs/training.md). torch with its libraries is 4.3 GB and there once for all of them.
TRAINERS := datasets webdataset trl llamafactory swift
runtime/recipes/%/ok: recipes/requirements/%.txt
	@$(TIMED) "environment $*" recipes/environment.sh $*
$(patsubst %,runtime/recipes/%/ok,train trl llamafactory swift): runtime/recipes/torch/ok

# The labelled run beside the checkout where there is one, else what the demo made.
SHARED := ../shared/data
train: build runtime/recipes/train/ok ## train a small model on a dataset, and with photos exchanged and without
	@test -e $(SHARED)/strong-run/llava.json || test -e $(OUT)/dataset/llava.json || $(MAKE) demo
	@if test -e $(SHARED)/strong-run/llava.json; then \
		data=$(SHARED)/strong-run/llava.json; photos=$(SHARED)/coco-train80; out=train-run/strong; \
	else data=$(OUT)/dataset/llava.json; photos=samples/photos; out=train-run/demo; fi; \
	$(TIMED) train runtime/recipes/train/bin/python recipes/train/train.py --data $$data --photos $$photos --out $$out \
		--binary $(TARGET_DIR)/release/pairwright $(TRAIN_ARGS)

FORMATS := llava,jsonl,parquet,parquet_images,finevision,webdataset,llamafactory,swift,trl
trainers: build $(patsubst %,runtime/recipes/%/ok,$(TRAINERS)) ## load each export through its trainers' own dataset code
	@test -e $(OUT)/run.sqlite || $(MAKE) demo
	@$(TARGET_DIR)/release/pairwright export --out $(OUT) --format $(FORMATS)
	@runtime/recipes/datasets/bin/python -m unittest discover --start-directory recipes/trainers
	@$(TIMED) trainers python3 recipes/trainers/check.py --dataset $(OUT)/dataset --photos samples/photos

# All at once, one core each. Anything above 64 MiB in one piece, where photos may decode to 16 MiB,
# is an error; so are 10 s or 2 GiB for one input. What is found lies in fuzz/artifacts.
FUZZ := $(abspath fuzz)
FUZZ_FLAGS := -max_total_time=$(TIME) -timeout=10 -rss_limit_mb=2048 -detect_leaks=0 -print_final_stats=1

siege: build runtime/clients ## attack the service for TIME seconds and tell how polite callers fare
	@runtime/clients/bin/python benches/siege.py --seconds $(TIME) --program $(TARGET_DIR)/release/pairwright

frames: build runtime/clients ## fuzz the service below gRPC, in HTTP/2 frames, for TIME seconds
	@runtime/clients/bin/python benches/frames.py --seconds $(TIME) --program $(TARGET_DIR)/release/pairwright

fuzz: setup ## fuzz photos, files, replies and requests (TIME=600 seconds)
	@cd fuzz && RUSTC_WRAPPER=$(FUZZ)/rustc.sh CARGO_TARGET_DIR=$(abspath $(TARGET_DIR)) \
		$(abspath $(TIMED)) "fuzz, build" cargo build --release --locked
	@mkdir -p fuzz/artifacts
	@for kind in image file reply request; do \
		PAIRWRIGHT_FUZZ_SEEDS=fuzz/corpus/$$kind $(TARGET_DIR)/release/$$kind || exit; done
	@echo "== fuzz: $(TIME) s; logs in fuzz/artifacts"
	@$(TARGET_DIR)/release/image $(FUZZ_FLAGS) -max_len=65536 -malloc_limit_mb=64 \
		-artifact_prefix=fuzz/artifacts/image- fuzz/corpus/image >fuzz/artifacts/image.log 2>&1 & image=$$!; \
	$(TARGET_DIR)/release/file $(FUZZ_FLAGS) -max_len=65536 -malloc_limit_mb=64 \
		-artifact_prefix=fuzz/artifacts/file- fuzz/corpus/file >fuzz/artifacts/file.log 2>&1 & file=$$!; \
	$(TARGET_DIR)/release/reply $(FUZZ_FLAGS) -max_len=8192 \
		-artifact_prefix=fuzz/artifacts/reply- fuzz/corpus/reply >fuzz/artifacts/reply.log 2>&1 & reply=$$!; \
	$(TARGET_DIR)/release/request $(FUZZ_FLAGS) -max_len=8192 \
		-artifact_prefix=fuzz/artifacts/request- fuzz/corpus/request >fuzz/artifacts/request.log 2>&1; request=$$?; \
	wait $$image; image=$$?; wait $$file; file=$$?; wait $$reply; reply=$$?; \
	tail -n 12 fuzz/artifacts/*.log; test $$image$$file$$reply$$request = 0000
	@! grep -L "^stat::number_of_executed_units" fuzz/artifacts/*.log | sed "s/$$/: nothing was tried/" | grep .

lint: ## formatting and clippy, warnings denied
	@$(TIMED) "formatting" cargo fmt --check
	@$(TIMED) "clippy" cargo clippy --profile quick --all-targets --all-features --locked -- -D warnings

sbom: ## write a software bill of materials (CycloneDX) to target/sbom.cdx.json
	@mkdir -p $(TARGET_DIR)
	@$(TIMED) sbom python3 scripts/sbom.py $(TARGET_DIR)/sbom.cdx.json

clean: ## remove the build and the demo's run folder; keep what set-up fetched
	cargo clean
	rm -rf "$(OUT)"

distclean: clean ## remove what set-up fetched, too
	rm -rf runtime
