#!/bin/bash
# Prints the Python that the environments are made with: of the oldest supported version there is, the one for which the
# locks are made, the first on PATH, or another of that version that is quicker by a tenth. How an interpreter was built
# decides a sixth of what a small request costs (docs/performance.md), and its version does not tell.
set -euo pipefail

WORK='
import ensurepip, sys, time, venv

sys.exit(1) if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None

def once():
    began, seen = time.process_time(), {}
    for number in range(20_000):
        seen[number % 97] = number, str(number), [number]
    return time.process_time() - began

print(round(min(once() for _ in range(20)) * 1e6))
'

# The least of three, some tenths of a second apart: a machine that does other things slows any of them down.
took_us() {
    local least="" once
    for _ in 1 2 3; do
        once=$("$1" -c "$WORK" 2> /dev/null) || return 1
        if [[ -z $least ]] || ((once < least)); then least=$once; fi
    done
    echo "$least"
}

for name in python3.11 python3.12 python3.13 python3; do
    chosen="" least=0
    while read -r python; do
        microseconds=$(took_us "$python") || continue
        if [[ -z $chosen ]] || ((microseconds * 10 < least * 9)); then
            chosen=$python least=$microseconds
        fi
    done < <(type -ap "$name")
    if [[ -n $chosen ]]; then
        echo "$chosen"
        exit
    fi
done
