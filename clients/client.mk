# Shared by the clients' Makefiles. Each of them sets NEEDS, the tools that it is built with, and, if its generated
# code is committed, GENERATED, the folder, and GENERATE, a command that takes IMAGE OUT_DIR.

# The tests start servers with this Python; the generators take protoc from it.
export ENGAGEMENT_PYTHON ?= $(abspath ../../.venv/bin/python)
export ENGAGEMENT_PROTOC ?= $(ENGAGEMENT_PYTHON) -m grpc_tools.protoc

.DEFAULT_GOAL := help
.PHONY: help tools download check fresh lint test readme generate bench-build bench

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | sort

tools:  ## Name the tools that are missing or too old
	@../require $(NEEDS)

readme:  ## Follow the README in an empty folder, as a stranger would
	@cd ../.. && $(ENGAGEMENT_PYTHON) -m pytest -m toolchain -rs \
		'tests/e2e/test_client_readmes.py::test_a_stranger_gets_what_the_readme_shows[$(notdir $(CURDIR))]'

ifdef GENERATED
with_fresh_code = scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	$(ENGAGEMENT_PYTHON) ../../protos/contract.py image "$$scratch/image" && \
	$(GENERATE) "$$scratch/image" "$$scratch/fresh"

generate:  ## Regenerate the code from the contract
	@$(with_fresh_code) && rm -rf $(GENERATED) && cp -R "$$scratch/fresh" $(GENERATED)

fresh:  ## Fail if the generated code differs from the contract
	@$(with_fresh_code) && \
		{ diff -rq "$$scratch/fresh" $(GENERATED) || { echo "stale, run \`make proto\`"; exit 1; }; }
endif
