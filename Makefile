# make demo            a real active-learning campaign on bulk silicon, labelled with GFN1-xTB
# make demo DFT=cp2k   the same with CP2K labels
# make test            every test; DEEPMD=no leaves deepmd-kit and the tests against it out
# make faults          what becomes of labels, relaxations and AIMD when VASP, PWmat and CP2K fail, as a table
# make kills           a campaign killed in each of its stages against one that nobody disturbed, as a table
# make queue-faults    what becomes of a campaign when jobs, nodes, SLURM, its supervisor or its database die
# make examples        init_bulk of every silicon example in full, with stand-ins for licensed programs, as a table
#                      (RUN=yes: active learning to its end as well, with small networks and short trainings)
# make benchmarks      every benchmark (QUICK=yes: each in about two minutes), into benchmarks/RESULTS.md
# make lint            ruff, mypy, shellcheck and hadolint
# make cluster         containers with MongoDB and a SLURM (docker/)
# make cluster-demo    a short campaign through that SLURM
# make clean           remove the demo, so that it can be run again

PYTHON ?= python3
DFT    ?= xtb
INPUTS ?= examples/$(if $(filter cp2k,$(DFT)),silicon_cp2k,silicon)
NAME   := $(notdir $(INPUTS))

BIN   := .venv/bin
READY := .venv/.ready

# Many short processes run: each module is compiled once.
unexport PYTHONDONTWRITEBYTECODE

# The pins are what the tests ran with, on Python 3.11; other versions resolve freely.
pinned = $(shell $(PYTHON) -c 'import sys; print("-c $(1)" if sys.version_info[:2] == (3, 11) else "")')
PINNED = $(call pinned,constraints.txt)

# deepmd-kit, to test against, in an environment of its own: it brings TensorFlow and an older LAMMPS.
DEEPMD_READY := .venv-deepmd/.ready

COMPOSE ?= docker compose
CLUSTER = $(COMPOSE) -f docker/compose.yaml
SCRIPTS = .ci/run .ci/packages docker/cluster.sh tests/slurm/slurm.sh

.PHONY: demo test faults kills queue-faults examples lint benchmarks cluster cluster-demo clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.10 to 3.13 is needed; choose one with make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/packages none=python3-venv:'virtual environments'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q $(PINNED) torch
	$(BIN)/python -m pip install -q $(PINNED) -e '.[dev]'
	@touch $@

$(DEEPMD_READY): constraints-deepmd.txt | $(READY)
	test -x .venv-deepmd/bin/python || $(PYTHON) -m venv .venv-deepmd
	@.venv-deepmd/bin/python -m pip install -q $(call pinned,constraints-deepmd.txt) 'deepmd-kit[cpu,lmp]==3.2.0' \
		&& touch $@ || echo "skipped: deepmd-kit cannot be installed; needed for tests against it"

demo: $(READY)
ifeq ($(DFT),cp2k)
	@.ci/packages cp2k=cp2k,cp2k-data:'DFT labels with CP2K'
endif
	@mkdir -p demo
	@$(BIN)/alpw db start --dir demo/db
	$(BIN)/alpw run $(INPUTS)/param.json $(INPUTS)/resource.json \
		--campaign demo-$(NAME) --work-dir demo/$(NAME)
	@cp demo/$(NAME)/summary.json demo/$(NAME)/history.png demo/

test: $(READY) $(if $(filter no,$(DEEPMD)),,$(DEEPMD_READY))
	@.ci/packages cp2k=cp2k,cp2k-data:'tests that run CP2K' \
		sbatch=slurm-wlm:'tests that run SLURM' munged=munge:'tests that run SLURM' \
		docker-compose=docker-compose:'the test of the compose file'
	$(if $(filter no,$(DEEPMD)),ALPW_DEEPMD_PYTHON= )$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

faults: $(READY)
	@.ci/packages cp2k=cp2k,cp2k-data:'faults of the real CP2K'
	@$(BIN)/python -m tests.faults

kills: $(READY)
	@$(BIN)/python -m tests.faults.kills

queue-faults: $(READY)
	@.ci/packages sbatch=slurm-wlm:'faults of the queue' munged=munge:'faults of the queue'
	@$(BIN)/python -m tests.faults.queue

examples: $(READY)
	@.ci/packages cp2k=cp2k,cp2k-data:'the example with the real CP2K'
	@$(BIN)/python -m tests.examples $(if $(RUN),--run --quick)

benchmarks: $(READY) $(DEEPMD_READY)
	.venv-deepmd/bin/python -m pip install -q torch e3nn 'vesin[torch]'
	$(BIN)/python benchmarks/all.py $(if $(QUICK),--quick)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck $(SCRIPTS)
	$(BIN)/hadolint docker/Dockerfile

docker/.env:
	@umask 077; for name in MONGO_ROOT_PASSWORD ALPW_DB_PASSWORD; do \
		echo "$$name=$$(head -c 24 /dev/urandom | base64 | tr -d '/+=')"; done >$@

cluster: docker/.env
	$(CLUSTER) up --build --detach

cluster-demo: docker/.env
	$(CLUSTER) build
	$(CLUSTER) run --rm demo

clean:
	-$(BIN)/alpw db stop --dir demo/db --force
	rm -rf demo my_launchpad.yaml build .mypy_cache .pytest_cache .ruff_cache
