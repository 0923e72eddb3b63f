# `make run` is the product in one minute, `make test` is everything that must hold.

DEMO := target/demo/headgate

.PHONY: help build test lint fmt golden crds run soak bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the release binary, target/release/headgate
	cargo build --release --locked

run: ## Start echo backends and the proxy on deploy/demo/, and print what to try
	cargo build --profile demo --locked
	@deploy/demo/run.sh $(DEMO)

test: ## Install what the tests need, then run everything
	tests/tools.sh
	$(MAKE) --no-print-directory lint
	cargo test --locked

lint: ## Formatting and lints
	cargo fmt --check
	cargo clippy --all-targets --locked -- --deny warnings
	cargo clippy --test soak --locked -- --deny warnings

fmt: ## Format the source
	cargo fmt

golden: ## Rewrite the expected output of the translation fixtures; review the diff
	HEADGATE_GOLDEN=rewrite cargo test --locked --test golden

crds: ## Rewrite crds/ from the types in src/api
	cargo run --quiet --locked -- crds > crds/proxypolicies.yaml.new
	mv crds/proxypolicies.yaml.new crds/proxypolicies.yaml

soak: ## Millions of requests while everything changes (optimised build, minutes)
	cargo test --release --locked --test soak -- --nocapture

bench: build ## CPU per request against nginx, in one run (needs nginx and wrk)
	bench/compare.py
