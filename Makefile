# SPDX-License-Identifier: BSD-3-Clause
# A thin front for Meson: `make help` lists what there is. BUILD, ASAN, TSAN and FUZZ name the build directories.

BUILD ?= build
ASAN  ?= build-asan
TSAN  ?= build-tsan
FUZZ  ?= build-fuzz
FUZZ_SECONDS ?= 60
PREFIX  ?= /usr/local
DESTDIR ?=
# What the tests with a virtual machine boot is made once and kept here.
export PINFOLD_GUEST ?= $(abspath $(BUILD))/guest
# TESTS="name name" runs only those.
TESTS ?=
CLASSES ?=
# Options for scripts/check-kernel; -h lists them.
KERNEL_TESTS ?=

MESON ?= meson
NINJA ?= ninja

.NOTPARALLEL:
.PHONY: all demo check guest check-kernel check-kernel-diff check-guest check-net check-flood golden bench asan tsan fuzz lint fmt install clean deps help

all: $(BUILD)/build.ninja ## build into build/
	@$(NINJA) -C $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing
	@scripts/install-deps

demo: deps all ## the main job, shown: an unmodified qemu-img on an emulated NVMe disk
	@BUILD=$(BUILD) scripts/demo

check: deps all guest ## build and run every test
	@scripts/check $(BUILD) $(TESTS)

check-kernel: deps all ## the Linux kernel's own tests of IOMMUFD, fetched from Debian
	@BUILD=$(BUILD) scripts/check-kernel $(KERNEL_TESTS)

check-kernel-diff: deps all ## random sequences of IOMMUFD calls, on Pinfold and on a real kernel (PINFOLD_ORACLE)
	@BUILD=$(BUILD) tests/kernel/diff.py live

check-guest: deps all guest ## guests of every shape in QEMU, with the emulated disk through vfio-pci; TESTS="name ..."
	@PINFOLD=$(abspath $(BUILD))/src/cli/pinfold SANITIZE=none PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/lib \
		tests/clients/guest_long.py $(TESTS)

golden: all ## rewrite the examples in the pages of the checker's classes; CLASSES="name ..."
	@PINFOLD=$(abspath $(BUILD))/src/cli/pinfold GOLDEN=$(BUILD)/tests/check ROOT=. PYTHONDONTWRITEBYTECODE=1 \
		PYTHONPATH=tests/lib tests/check/golden_test.py --update $(CLASSES)

check-flood: deps all ## ten million events through the checker: its memory and its report stay bounded
	@PINFOLD=$(abspath $(BUILD))/src/cli/pinfold GOLDEN=$(abspath $(BUILD))/tests/check FLOOD_ROUNDS=100000 \
		PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/lib tests/check/scale_test.py

check-net: deps all guest ## DPDK's testpmd on the network card, a minute for each mode; TESTS="name ..."
	@PINFOLD=$(abspath $(BUILD))/src/cli/pinfold SANITIZE=none PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/lib \
		tests/clients/testpmd_long.py $(TESTS)

bench: deps all guest ## the numbers, each beside its peer's
	@BUILD=$(BUILD) scripts/bench

asan: deps guest ## every test under AddressSanitizer and UBSan
	@test -f $(ASAN)/build.ninja || $(MESON) setup $(ASAN) -Db_sanitize=address,undefined -Db_lundef=false
	@$(NINJA) -C $(ASAN)
	@scripts/check $(ASAN) $(TESTS)

tsan: deps guest ## every test under ThreadSanitizer
	@test -f $(TSAN)/build.ninja || $(MESON) setup $(TSAN) -Db_sanitize=thread -Db_lundef=false
	@$(NINJA) -C $(TSAN)
	@scripts/check $(TSAN) $(TESTS)

fuzz: deps ## every fuzz target, FUZZ_SECONDS (60) each
	@test -f $(FUZZ)/build.ninja || CC=clang $(MESON) setup $(FUZZ) -Dfuzz=true \
		-Db_sanitize=address,undefined -Db_lundef=false
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz $(FUZZ)

# Without it a few tests are skipped, and say so.
guest: deps
	@scripts/guest-image $(PINFOLD_GUEST) || true

lint: ## layers, style, format, scripts, manual pages
	@tests/lint/run

fmt: ## clang-format over every C file
	@git ls-files '*.c' '*.h' | xargs clang-format -i

# A build directory that was set up with another prefix is set up again.
install: $(BUILD)/build.ninja ## under DESTDIR and PREFIX (/usr/local)
	@$(MESON) configure $(BUILD) -Dprefix=$(PREFIX)
	@$(NINJA) -C $(BUILD)
	@DESTDIR=$(DESTDIR) $(MESON) install -C $(BUILD) --no-rebuild

clean: ## remove the build directories
	rm -rf $(BUILD) $(ASAN) $(TSAN) $(FUZZ)

$(BUILD)/build.ninja:
	@command -v $(MESON) >/dev/null || { echo 'make: meson is missing; `make deps` installs what is needed' >&2; exit 1; }
	@$(MESON) setup $(BUILD)
