# `make run` is the product in one minute, `make test` is everything that must hold.

DEMO := target/demo/headgate

SECONDS_EACH ?= 300

.PHONY: help build test e2e hostile fuzz figures instructions lint fmt golden crds manifests image kind-up kind-load deploy undeploy run soak bench bench-quick

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE := headgate:$(VERSION)
KIND := deploy/kind/headgate.yaml

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the release binary, target/release/headgate
	cargo build --release --locked

run: ## Start echo backends and the proxy on deploy/demo/, and print what to try
	cargo build --profile demo --locked
	@deploy/demo/run.sh $(DEMO)

test: ## Install what the tests need, then run everything
	tests/tools.sh
	$(MAKE) --no-print-directory lint
	cargo test --locked --no-fail-fast
	$(MAKE) --no-print-directory instructions

instructions: ## Instructions that a request costs, against the budget in bench/instructions.json
	cargo build --profile counted --locked
	bench/instructions.py

e2e: ## The tests in a real Kubernetes, in their long forms
	tests/tools.sh
	E2E_LONG=1 cargo test --locked --test cluster

hostile: ## Which of the known cases of hostile traffic and faults hold, with the measured figures (an idle machine, an hour or more)
	tests/tools.sh nginx haproxy
	tests/hostile/report.py

fuzz: ## Fuzz every target for SECONDS_EACH (300), with what fuzz/README.md says of each (needs nightly Rust)
	fuzz/run.sh $(SECONDS_EACH)

figures: ## How soon changes in a cluster are live, and what that takes (optimised build, minutes)
	tests/tools.sh
	E2E_LONG=1 cargo test --release --locked --test cluster -- --nocapture a_change_is_live

lint: ## Formatting and lints
	cargo fmt --check
	cargo clippy --all-targets --locked -- --deny warnings
	cargo clippy --test soak --locked -- --deny warnings

fmt: ## Format the source
	cargo fmt

golden: ## Rewrite the expected output of the translation fixtures and of the chart; review the diff
	HEADGATE_GOLDEN=rewrite cargo test --locked --test golden
	HEADGATE_GOLDEN=rewrite cargo test --locked --test chart -- golden values

crds: ## Rewrite crds/, and the chart's copy, from the types in src/api
	cargo run --quiet --locked -- crds > crds/proxypolicies.yaml.new
	mv crds/proxypolicies.yaml.new crds/proxypolicies.yaml
	cp crds/proxypolicies.yaml charts/headgate/files/

manifests: ## Rewrite deploy/*/headgate.yaml from the chart
	for variant in cloud kind bare-metal; do deploy/render.sh $$variant > deploy/$$variant/headgate.yaml || exit; done

image: ## Build the container image headgate:VERSION (needs Docker)
	docker build --tag $(IMAGE) .

kind-up: ## Start a cluster with ports 80 and 443 of this machine (needs kind)
	kind create cluster --config kind-config.yaml

kind-load: image ## Bring the image into it
	kind load docker-image $(IMAGE)

deploy: kind-load ## Install Headgate, with its image, in the cluster of kind that kubectl is about
	kubectl apply --server-side -f $(KIND)
	kubectl --namespace headgate rollout restart deployment/headgate
	kubectl --namespace headgate rollout status deployment/headgate --timeout 3m

undeploy: ## Remove it, with all ProxyPolicies
	kubectl delete --ignore-not-found -f $(KIND)

soak: ## Millions of requests while everything changes (optimised build, minutes)
	cargo test --release --locked --test soak -- --nocapture

bench: build ## CPU, rates, latency and memory against other proxies, in one run; fills bench/RESULTS.md (an idle machine, hours)
	bench/tools.sh
	bench/run.py --fill

bench-quick: build ## The same with few columns and rounds (under 3 minutes once all is built)
	bench/tools.sh
	bench/run.py --quick
