# slurm-burst: build, try, test, install. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PREFIX ?= /usr
DESTDIR ?=
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/release
# Slurm's own plugin directory: where its munge plugin is.
SLURM_PLUGIN_DIR ?= $(patsubst %/auth_munge.so,%,$(firstword $(wildcard /usr/lib/*/slurm-wlm/auth_munge.so /usr/lib64/slurm/auth_munge.so /usr/lib/slurm/auth_munge.so /usr/lib/slurm-wlm/auth_munge.so)))
FUZZ_SECONDS ?= 30
SEEDS ?= 300
JOBS ?= 50
FIRST ?= 1
KILLS ?= 20
STORM_SEED ?= 1
# Set by `make demo KEEP=1`: leave the cluster running.
KEEP ?=

.PHONY: help deps build demo test lint deny unit fuzz e2e model-check conformance soak crash-storm mutants bench install uninstall clean

help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

deps: ## Install the Debian packages that are missing (as root; no service is started)
	@.ci/deps.sh

build: deps ## Build everything, optimised
	$(CARGO) build --release --workspace --locked
	@.ci/trial.sh

demo: build ## A private cluster and a simulated EC2: five jobs, live; KEEP=1 leaves it running
	KEEP="$(KEEP)" $(BIN)/burst-demo

test: deps ## Everything that can be checked here, a crash storm of 20 kills and conformance among it
	@.ci/test.sh

lint: ## Formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

deny: ## Licences, banned crates, advisories of all dependencies (needs cargo-deny and the network)
	$(CARGO) deny check

unit: ## Tests of every crate, without the whole clusters
	@.ci/unit.sh

fuzz: ## Every parser of foreign input, FUZZ_SECONDS each
	@if [ -x fuzz/run.sh ]; then fuzz/run.sh $(FUZZ_SECONDS); else echo "fuzz: no fuzz/run.sh here"; fi

e2e: ## Whole clusters, end to end
	@.ci/e2e.sh

model-check: ## Requests recorded by the e2e runs against botocore's service model
	@.ci/model-check.sh

conformance: deps ## The AWS half against the simulator, moto and ministack, with faults by microburst (needs PyPI once)
	@.ci/conformance.sh

soak: deps ## The engine in simulated troubles: SEEDS=10000 stories of JOBS=50 gangs each (FIRST=1)
	$(CARGO) run --release --locked -p burst-soak -- $(SEEDS) $(JOBS) $(FIRST)

crash-storm: deps ## slurmctld killed before and after every effect, on real Slurm: KILLS=200 (STORM_SEED=1)
	@.ci/storm.sh $(KILLS) $(STORM_SEED)

mutants: deps ## Removes the laws' guards one by one: the tests named in tests/mutants must notice each
	@.ci/mutants.sh

bench: build ## Figures to target/bench/summary.json, raw samples beside it; builds once more from nothing (SECTIONS="hook gangs …")
	$(BIN)/burst-bench $(SECTIONS)
	$(BIN)/burst-checker --bench $(TARGET)/bench

install: ## Install what `make build` built: DESTDIR= PREFIX=/usr SLURM_PLUGIN_DIR=
	@test -n "$(SLURM_PLUGIN_DIR)" || { echo "install: Slurm's plugin directory was not found; give SLURM_PLUGIN_DIR="; exit 1; }
	@test -e $(BIN)/libjob_submit_burst.so || { echo "install: nothing built in $(BIN); run make build"; exit 1; }
	install -d "$(DESTDIR)$(SLURM_PLUGIN_DIR)" "$(DESTDIR)$(PREFIX)/sbin" "$(DESTDIR)$(PREFIX)/bin"
	install -m 0644 $(BIN)/libjob_submit_burst.so "$(DESTDIR)$(SLURM_PLUGIN_DIR)/job_submit_burst.so"
	install -m 0644 $(BIN)/libspank_burst.so "$(DESTDIR)$(SLURM_PLUGIN_DIR)/spank_burst.so"
	install -m 0644 $(BIN)/libspank_burst_node.so "$(DESTDIR)$(SLURM_PLUGIN_DIR)/spank_burst_node.so"
	install -m 0755 $(BIN)/burstctl "$(DESTDIR)$(PREFIX)/bin/burstctl"
	install -m 0755 $(BIN)/burst-power $(BIN)/burst-node "$(DESTDIR)$(PREFIX)/sbin/"
	ln -sf burst-power "$(DESTDIR)$(PREFIX)/sbin/burst-resume"
	ln -sf burst-power "$(DESTDIR)$(PREFIX)/sbin/burst-suspend"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)$(PREFIX)/share/man/man1" \
	  "$(DESTDIR)$(PREFIX)/share/bash-completion/completions"
	sed 's#/usr/sbin/#$(PREFIX)/sbin/#' src/node/burst-node.service > "$(DESTDIR)$(PREFIX)/lib/systemd/system/burst-node.service"
	$(BIN)/burstctl man > "$(DESTDIR)$(PREFIX)/share/man/man1/burstctl.1"
	$(BIN)/burstctl completions bash > "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/burstctl"

uninstall: ## Remove what `make install` put there (configuration and state stay)
	@test -n "$(SLURM_PLUGIN_DIR)" || { echo "uninstall: give SLURM_PLUGIN_DIR="; exit 1; }
	rm -f $(addprefix "$(DESTDIR)$(SLURM_PLUGIN_DIR)"/,job_submit_burst.so spank_burst.so spank_burst_node.so)
	rm -f "$(DESTDIR)$(PREFIX)/bin/burstctl" $(addprefix "$(DESTDIR)$(PREFIX)/sbin"/,burst-power burst-node burst-resume burst-suspend)
	rm -f "$(DESTDIR)$(PREFIX)/lib/systemd/system/burst-node.service" "$(DESTDIR)$(PREFIX)/share/man/man1/burstctl.1"
	rm -f "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/burstctl"

clean: ## Remove what was built
	$(CARGO) clean
