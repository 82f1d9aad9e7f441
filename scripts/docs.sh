#!/bin/sh
# Make the documentation: the pictures of the window that are old (scripts/screenshots.py), then the site, in site/.
# Pictures named are made in any case: sh scripts/docs.sh sample, or --all.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck source=scripts/setup.sh
. "$ROOT/scripts/setup.sh"

prepare dev || exit 1
cd "$ROOT"

status=0
if dry || [ $# -gt 0 ] || ! "$BIN/python" scripts/screenshots.py --check >/dev/null 2>&1; then
    prepare dev screen || exit 1
    choose_display
    # A virtual screen even where there is a real one: the same fonts, size and resolution for everyone.
    if is_linux && has_xvfb && [ "$SCREEN" = window ]; then SCREEN=virtual; fi
    case $SCREEN in
        window) run "$BIN/python" scripts/screenshots.py "$@" || status=1 ;;
        virtual) run_virtual "$BIN/python" scripts/screenshots.py "$@" || status=1 ;;
        none)
            complain "The pictures stay as they are, because this system lacks what a window needs (named above)."
            status=1
            ;;
    esac
fi

run rm -rf site
run build_site site
run rm -rf site/.doctrees site/.buildinfo
say "The site is in site/; open site/index.html."
exit "$status"
