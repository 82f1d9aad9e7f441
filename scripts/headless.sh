#!/bin/sh
# Does everything but the viewer run where napari, Qt and magicgui are not installed, as on a cluster node?
# Makes such an environment in .venv-headless and runs the tests in it. Arguments are passed on to pytest.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=scripts/setup.sh
. "$ROOT/scripts/setup.sh"

VENV=$ROOT/.venv-headless
BIN=$VENV/bin
prepare headless || exit 1
cd "$ROOT"
run_without_viewer "$@"
