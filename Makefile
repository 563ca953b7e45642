# `make` lists what there is to do.

CARGO ?= cargo
PYTHON = target/venv/bin/python
DEMO = $(or $(CARGO_TARGET_DIR),target)/debug/examples/demo
SEED ?= 1
COUNT ?= 10000
STEPGATE = $(or $(CARGO_TARGET_DIR),target)/debug/stepgate

.NOTPARALLEL:
.PHONY: help demo test check setup build format lint unit doc clients differential fuzz faults faults-smoke bench bench-memory clean

help:
	@echo 'make demo    gateway, demo exchange, three places to come from, and a tour of commands'
	@echo 'make test    sets up and runs every test'
	@echo 'make check   the quick part of it: format, lint, unit and integration tests'
	@echo 'make differential  tricks on real frameworks behind the gateway; SEED=1 COUNT=10000'
	@echo 'make fuzz    TARGET=head SECONDS=600: one fuzz target for so long; without TARGET all of them'
	@echo 'make faults  Redis and gateways are killed under load, and a model checks; SEED=1 SECONDS=300 TOPOLOGY=single|sentinel'
	@echo 'make bench   CPU time: of the raw look at a head, of a decision, and per request against nginx, in one run; what Redis costs; replay of a month'
	@echo 'make bench-memory  a million sessions and accounts in Redis'
	@echo 'make clean   removes everything that was built'

demo:
	@tests/tools/setup.sh demo
	@$(MAKE) --no-print-directory build
	@exec $(DEMO)

# The linter compiles here, so that nothing is compiled for it alone: what it complains of breaks the build.
test: export RUSTC_WORKSPACE_WRAPPER = clippy-driver
test: export CLIPPY_ARGS = -Dwarnings__CLIPPY_HACKERY__
test: setup format unit doc faults-smoke clients differential

check: format lint unit

setup:
	tests/tools/setup.sh

build:
	$(CARGO) build --locked --bin stepgate --example demo --example dev_certs

format:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/fuzz/Cargo.toml

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings

# The random cases are the same in every run, so that a failure is the change's own. Others: `make unit SEED=2`.
unit:
	PROPTEST_RNG_SEED=$(SEED) $(CARGO) test --locked

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

# The demo's own configuration is checked, its tour is walked, a client library and a browser are used. The browser gets
# a demo of its own: an account is sent three text messages in ten minutes, and the tour uses two of them. The libraries
# of three exchanges then meet a gateway in front of an exchange that checks their signatures. Last come the engines of
# editors, with the schemas of our files.
clients: build
	tests/tools/with-demo.sh sh -ec '\
	    $(STEPGATE) check -c "$$CONFIG"; \
	    $(PYTHON) tests/clients/tour.py; \
	    $(PYTHON) tests/clients/ccxt_okx.py'
	tests/tools/with-demo.sh $(PYTHON) tests/clients/browser.py
	tests/tools/with-demo.sh $(PYTHON) tests/clients/spa.py
	tests/tools/with-demo.sh $(PYTHON) tests/clients/pages.py
	tests/tools/with-demo.sh $(PYTHON) tests/clients/journeys.py
	tests/tools/with-demo.sh $(PYTHON) tests/clients/passkey.py
	$(PYTHON) tests/clients/ccxt_exchanges.py
	$(PYTHON) tests/clients/ccxt_orders.py
	$(PYTHON) tests/clients/ccxt_ws.py
	$(PYTHON) tests/clients/sdk_okx.py
	$(PYTHON) tests/clients/sdk_binance.py
	$(PYTHON) tests/clients/schemas.py

# Random tricks on a withdrawal, through the gateway to six real frameworks: `make differential SEED=7 COUNT=50000`.
differential:
	tests/tools/setup.sh differential
	SEED=$(SEED) COUNT=$(COUNT) $(CARGO) test --locked --test differential -- --nocapture

# The tests meet each target's first inputs and changes of them; here libFuzzer looks for others.
fuzz:
	@tests/tools/fuzz.sh $(or $(TARGET),all) $(or $(SECONDS),60)

# Gateways and Redis servers are killed, paused and starved under load, and a model checks what everybody saw. A real
# run is `make faults SECONDS=300`, and with `TOPOLOGY=sentinel`.
faults:
	tests/tools/setup.sh faults
	SEED=$(SEED) SECONDS=$(or $(SECONDS),300) TOPOLOGY=$(or $(TOPOLOGY),single) $(CARGO) test --locked --test faults

faults-smoke:
	SEED=$(SEED) SECONDS=40 TOPOLOGY=single $(CARGO) test --locked --test faults

bench:
	tests/tools/setup.sh bench
	$(CARGO) bench --locked --bench head
	$(CARGO) bench --locked --bench policy
	$(CARGO) bench --locked --bench proxy
	$(CARGO) bench --locked --bench store
	$(CARGO) bench --locked --bench replay

bench-memory:
	tests/tools/setup.sh bench
	PART=memory $(CARGO) bench --locked --bench store

clean:
	$(CARGO) clean
