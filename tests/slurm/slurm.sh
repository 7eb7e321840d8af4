#!/usr/bin/env bash
# A real SLURM with one node, private to one test session: own munge key, sockets and ports, no systemd,
# nothing in /etc. Works as any user; then only that user's jobs run.
#
#   slurm.sh start DIR CTLD_PORT NODE_PORT    then: export SLURM_CONF=DIR/slurm.conf
#                                             lines in $SLURM_LINES are added to it
#   slurm.sh stop  DIR                        cancels the jobs, ends the daemons, removes DIR
#
# DIR must be short (a socket's path has at most 108 bytes), and munged wants every folder above it to be
# writable by its owner alone or sticky.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command=${1:?start or stop}
dir=${2:?directory}
export SLURM_CONF=$dir/slurm.conf
PATH=$PATH:/usr/sbin:/sbin

die() {
    echo "slurm.sh: $*" >&2
    tail -n 15 "$dir"/*.log >&2 2>/dev/null || true
    exit 1
}

running() { # PID_FILE NAME: a process of that name that is no zombie
    [ -s "$1" ] && [ "$(awk '/^Name:/{n=$2} /^State:/{s=$2} END{print n, s=="Z"}' \
        "/proc/$(cat "$1" 2>/dev/null)/status" 2>/dev/null)" = "$2 0" ]
}

end() { # PID_FILE NAME
    running "$1" "$2" || return 0
    kill "$(cat "$1")" 2>/dev/null || true
    for _ in $(seq 100); do
        running "$1" "$2" || return 0
        sleep 0.05
    done
    kill -9 "$(cat "$1")" 2>/dev/null || true
}

start() {
    local host listen=''
    host=$(hostname -s)
    # Loopback only, where the host's name leads there; SLURM would bind to what the name resolves to.
    case $(getent ahostsv4 "$host" | head -n 1) in
        127.*) listen=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny ;;
    esac
    umask 022
    mkdir -p "$dir"/{state,spool,dev}
    sed -e "s|@DIR@|$dir|g" -e "s|@HOST@|$host|g" -e "s|@USER@|$(id -un)|g" -e "s|@COMMUNICATION@|$listen|g" \
        -e "s|@CTLD_PORT@|$1|g" -e "s|@NODE_PORT@|$2|g" "$here/slurm.conf" >"$SLURM_CONF"
    echo "${SLURM_LINES:-}" >>"$SLURM_CONF"
    # A graphics card is any character device with a trailing number.
    ln -sfn /dev/null "$dir/dev/gpu0"
    echo "NodeName=node1 Name=gpu File=$dir/dev/gpu0" >"$dir/gres.conf"
    : >"$dir/plugstack.conf"

    (umask 077 && head -c 1024 /dev/urandom >"$dir/munge.key")
    munged --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" --num-threads=2 || die "munged did not start"
    # By these names: SLURM looks at its own program's name and forgets every Gres= under another one.
    slurmctld -f "$SLURM_CONF" || die "slurmctld did not start"
    slurmd -f "$SLURM_CONF" -N node1 || die "slurmd did not start"
    for _ in $(seq 300); do
        # A trailing * marks a node that does not answer.
        [ "$(timeout 5 sinfo -h -N -p debug -o %T 2>/dev/null)" = idle ] && return 0
        sleep 0.1
    done
    die "the node is not ready after 30 s"
}

stop() {
    [ -d "$dir" ] || return 0
    if running "$dir/slurmctld.pid" slurmctld; then
        timeout 5 scancel --user="$(id -un)" || true
        for _ in $(seq 100); do
            [ -z "$(timeout 5 squeue -h)" ] && break
            sleep 0.1
        done
    fi
    end "$dir/slurmd.pid" slurmd
    end "$dir/slurmctld.pid" slurmctld
    end "$dir/munged.pid" munged
    rm -rf "$dir"
}

case $command in
    start) start "${3:?port of slurmctld}" "${4:?port of slurmd}" ;;
    stop) stop ;;
    *) die "unknown command $command" ;;
esac
