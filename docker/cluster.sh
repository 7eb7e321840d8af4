#!/usr/bin/env bash
# One container of the cluster; no part of it needs root.
#
#   cluster.sh setup               writes /data/my_launchpad.yaml, whose password no other container knows
#   cluster.sh controller          slurmctld
#   cluster.sh node                slurmd, under the container's host name
#   cluster.sh login COMMAND...    a command that may submit jobs
#   cluster.sh healthy ROLE        exit status 0 if this container does its work
set -euo pipefail

key=/var/lib/alpw/munge.key

munge() {
    # Whoever comes first makes the key that all share: a second link to the name fails.
    if [ ! -e "$key" ]; then
        (umask 077 && head -c 1024 /dev/urandom >"$key.$HOSTNAME")
        ln "$key.$HOSTNAME" "$key" 2>/dev/null || true
        rm -f "$key.$HOSTNAME"
    fi
    # A container that is started again finds the socket of its last life.
    rm -f /run/munge/*
    munged --key-file="$key" --socket=/run/munge/munge.socket.2 --pid-file=/run/munge/munged.pid \
        --log-file=/run/munge/munged.log --seed-file=/run/munge/munge.seed
}

setup() {
    umask 077
    python - >/data/.my_launchpad.yaml <<'PYTHON'
import json
import os

print(json.dumps({
    "host": os.environ["ALPW_DB_HOST"],
    "port": 27017,
    "name": "fireworks",
    "username": os.environ["ALPW_DB_USER"],
    "password": os.environ["ALPW_DB_PASSWORD"],
    "authsource": "fireworks",
    "strm_lvl": "WARNING",
}, indent=2))
PYTHON
    mv /data/.my_launchpad.yaml /data/my_launchpad.yaml
    alpw db start --launchpad /data/my_launchpad.yaml
}

healthy() {
    case $1 in
        controller) scontrol ping | grep -q 'is UP' ;;
        # A trailing * marks a node that does not answer.
        node) sinfo --noheader --nodes="$HOSTNAME" --format=%T | grep -Eqx '(idle|mixed|allocated|completing)' ;;
    esac
}

role=${1:?setup, controller, node, login or healthy}
shift
case $role in
    setup) setup ;;
    # By these names: SLURM looks at its own program's name.
    controller) munge && exec slurmctld -D ;;
    node) munge && exec slurmd -D ;;
    login) munge && exec "$@" ;;
    healthy) healthy "${1:?role}" ;;
    *) echo "cluster.sh: unknown role $role" >&2 && exit 2 ;;
esac
