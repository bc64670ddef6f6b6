# `make run` and `make test` do all the set-up on a fresh Debian 12 machine.
#   make run ARGS="rtsp://camera/live --record out/"
#   sudo make install             as a service of this machine; docs/install.md
#   make soak MINUTES=60          cameras die and hang, viewers come and go: is it still as it was?
#   make odd COUNT=300 SEED=1     odd and damaged files, conversions that are killed; ONLY="NAME ...": odd files by name
#   make test TORCH_INDEX=URL     take torch from another index, such as PyTorch's own of CPU builds
#   make vendor                   after a change of requirements/page: what the page has from others
#   make lock                     after a change of dependencies in pyproject.toml; UPGRADE=1: take the newest of all

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --no-deps --require-hashes --requirement
TORCH  = $(shell grep -v "^\#" requirements/torch.in)
ARGS   ?=
MINUTES ?= 30
COUNT   ?= 300
SEED    ?= 1
PREFIX ?= /opt/streamd

RUN_PACKAGES  := libgl1 libglib2.0-0
NODE_PACKAGES := $(if $(shell command -v npm),,nodejs npm)
TEST_PACKAGES := $(RUN_PACKAGES) $(NODE_PACKAGES) ffmpeg chromium firefox-esr fonts-dejavu-core coturn openssl \
	mosquitto prometheus iproute2 systemd-container python3-gi gir1.2-gst-rtsp-server-1.0 glib-networking gstreamer1.0-libav gstreamer1.0-x \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
CLIENTS := tests/e2e/clients
PAGE := tests/page

.PHONY: run install uninstall test soak odd check format schema dashboards bench lock vendor clean run-packages node-packages test-packages

run: $(VENV)/installed
	$(BIN)/streamd run $(ARGS)

# The installer needs nothing but Python. DESTDIR lays out another machine's files, and starts nothing.
SERVICE = $(PYTHON) -B -m streamd.installer $(1) --prefix $(PREFIX) $(if $(DESTDIR),--root $(DESTDIR))

install: $(if $(DESTDIR),,run-packages)
	$(call SERVICE,install)

uninstall:
	$(call SERVICE,uninstall) $(if $(PURGE),--purge)

# All of them side by side, since most wait for something, in the groups and the order of tests/support/schedule.py. The
# coverage of all is measured, not that of a part.
SIDE_BY_SIDE := --numprocesses 4 --dist loadscope --no-loadscope-reorder
test: test-packages $(VENV)/installed-dev $(CLIENTS)/bundles
	$(BIN)/pytest $(if $(ARGS),$(ARGS),$(SIDE_BY_SIDE) --cov --cov-report=)

soak: test-packages $(VENV)/installed-dev
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --report build/soak

# All of them, whatever fails in between.
ODD = $(BIN)/python -m tests
odd: test-packages $(VENV)/installed-dev
	@failed=0; \
	$(ODD).integration.test_odd_files $(if $(ONLY),$(ONLY),--count $(COUNT) --seed $(SEED)) || failed=1; \
	$(if $(ONLY),,$(ODD).integration.test_mutated_files --seed $(SEED) || failed=1; \
	$(ODD).support.mutated_stills --count 1000 --seed $(SEED) || failed=1; \
	$(ODD).support.rtsp_fuzz --count 100000 --seed $(SEED) || failed=1; \
	$(ODD).integration.test_killed_convert --seed $(SEED) || failed=1;) \
	exit $$failed

check: $(VENV)/installed-dev $(PAGE)/node_modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	cd $(PAGE) && npm run --silent check

format: $(VENV)/installed-dev $(PAGE)/node_modules
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd $(PAGE) && npm run --silent lint -- --fix

# The example file is made from the configuration models; a test compares the two.
schema: $(VENV)/installed
	$(BIN)/python -c "from streamd.config import schema; print(schema.example())" > configs/example.toml

# Grafana's dashboards are made by code; a test compares the two.
dashboards: $(VENV)/installed-dev
	$(BIN)/python -m configs.grafana.generate

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/pipeline.py

# The same versions everywhere: those that the tests have run with.
$(VENV)/installed: pyproject.toml requirements/run.lock | run-packages
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) requirements/run.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/torch.lock requirements/dev.lock
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) $(TORCH),$(LOCKED) requirements/torch.lock)
	$(LOCKED) requirements/dev.lock
	touch $@

# Versions and digests for all platforms and Pythons. torch has a lock of its own, since TORCH_INDEX has other digests.
COMPILE = build/lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
OTHERS  = pyproject.toml requirements/build.in
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(COMPILE) $(OTHERS) --output-file requirements/run.lock
	$(COMPILE) requirements/torch.in --constraints requirements/run.lock --output-file requirements/torch.lock
	$(COMPILE) $(OTHERS) --extra dev --constraints requirements/run.lock --constraints requirements/torch.lock \
		--output-file requirements/dev.lock

# three.js: copied from its npm package, which npm checks by the lock; a test compares the copies with their digests.
vendor: | node-packages
	cd requirements/page && npm ci --silent && npm run --silent vendor

# Players that nobody here wrote, for Chromium. Of the versions in package-lock.json, and none of their scripts is run.
$(CLIENTS)/bundles: $(wildcard $(CLIENTS)/package*.json $(CLIENTS)/*.js) | test-packages
	cd $(CLIENTS) && npm ci --silent && npm run --silent build
	touch $@

$(PAGE)/node_modules: $(PAGE)/package-lock.json | node-packages
	cd $(PAGE) && npm ci --silent
	touch $@

# $(call packages,NAMES): installs what is missing as root, else says what to install.
define packages
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=""; \
	$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || missing="python3-venv"; \
	for package in $(1); do \
		dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null | grep -q "ok installed" || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	else \
		echo "Please install first:  sudo apt-get install $$missing"; exit 1; \
	fi
endef

run-packages:
	$(call packages,$(RUN_PACKAGES))

node-packages:
	$(call packages,$(NODE_PACKAGES))

test-packages:
	$(call packages,$(TEST_PACKAGES))

clean:
	rm -rf $(VENV) build $(CLIENTS)/node_modules $(CLIENTS)/bundles $(PAGE)/node_modules $(PAGE)/static requirements/page/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
