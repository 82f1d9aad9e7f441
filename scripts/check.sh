#!/bin/sh
# Everything that is checked without running the program: style, types, layers, manifest, documentation, licences.
# All checks run, also after one that failed; the exit status is that of the whole.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=scripts/setup.sh
. "$ROOT/scripts/setup.sh"

prepare dev || exit 1
cd "$ROOT"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

failed=''
check() {
    name=$1
    shift
    if dry; then
        say "would run: $*"
        return
    fi
    began=$(date +%s)
    if output=$("$@" 2>&1); then
        say "ok      $name ($(($(date +%s) - began)) s)"
    else
        say "FAILED  $name"
        printf '%s\n' "$output"
        failed="$failed, $name"
    fi
}

check "ruff check" "$BIN/ruff" check --output-format concise .
check "ruff format" "$BIN/ruff" format --check --output-format concise .
check "mypy" "$BIN/mypy"
check "import layers" "$BIN/lint-imports"
check "manifest" "$BIN/npe2" validate --imports src/napari_virtualstain/napari.yaml
check "headless requirements" "$BIN/python" scripts/headless_requirements.py --check
check "lowest versions" "$BIN/python" scripts/lowest_versions.py --check
check "security" "$BIN/bandit" --quiet --recursive --configfile pyproject.toml src scripts
check "licences" "$BIN/python" scripts/check_licences.py
check "screenshots" "$BIN/python" scripts/screenshots.py --check
check "docs" build_site "$scratch/site"
check "citation" "$BIN/check-jsonschema" --builtin-schema vendor.citation-file-format CITATION.cff
if [ -d .github ]; then
    check "workflows" "$BIN/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
    check "dependabot" "$BIN/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
    check "workflow security" "$BIN/zizmor" --offline --quiet --persona pedantic .github
fi

if [ -n "$failed" ]; then
    complain "Failed: ${failed#, }. Style is mended by: .venv/bin/ruff check --fix . && .venv/bin/ruff format ."
    exit 1
fi
