#!/bin/sh
# Run the benchmarks one after another: benchmarks/*.py, each of which prints one table. One that cannot run here (real
# images or a GPU are missing) does not keep the others from running.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=scripts/setup.sh
. "$ROOT/scripts/setup.sh"

prepare test || exit 1
cd "$ROOT"
found='' failed=''
for benchmark in benchmarks/[!_]*.py; do
    [ -f "$benchmark" ] || continue
    found=yes
    say "== $benchmark"
    run "$BIN/python" "$benchmark" "$@" || failed="$failed $benchmark"
done
[ -n "$found" ] || say "There are no benchmarks yet."
if [ -n "$failed" ]; then
    complain "These did not finish:$failed"
    exit 1
fi
