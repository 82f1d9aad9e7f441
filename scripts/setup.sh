# shellcheck shell=sh
# How does a fresh machine get to an environment where the package runs? Sourced by demo, test and scripts/check.sh,
# which have set ROOT. POSIX sh only: this is the first thing that runs, on machines that have nothing yet.
#
#   prepare PROFILE        PROFILE is demo, test, dev or headless; leaves the programs in $BIN
#   choose_display         sets SCREEN to window, virtual or none
#   run WORD...            runs a command, or with NVS_DRY_RUN prints it
#
# NVS_DRY_RUN=1 prints what would be done and changes nothing. PYTHON=/path/to/python names the interpreter to use.

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
dry() { [ -n "${NVS_DRY_RUN:-}" ]; }
run() { if dry; then say "would run: $*"; else "$@"; fi; }

SYSTEM=$(uname -s)
VENV=$ROOT/.venv
case $SYSTEM in
    MINGW* | MSYS* | CYGWIN*) BIN=$VENV/Scripts ;;
    *) BIN=$VENV/bin ;;
esac

# --- Python -----------------------------------------------------------------------------------------------------------

# Prints "MINOR venv" or "MINOR bare" for a Python 3 that starts, nothing for one that does not (a pyenv shim of a
# version that is not selected, the Windows Store's placeholder).
describe_python() {
    "$1" -c '
import sys
try:
    import ensurepip, venv
    kind = "venv"
except ImportError:
    kind = "bare"
if sys.version_info[0] == 3:
    print(sys.version_info[1], kind)
' 2>/dev/null || true
}

# Sets BASE_PYTHON, BASE_MINOR and BASE_KIND. A complete one of the tested versions wins over one without venv, and that
# over a newer one.
find_python() {
    BASE_PYTHON='' BASE_MINOR='' BASE_KIND='' rank=9 seen=''
    for name in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13 python; do
        have "$name" || continue
        description=$(describe_python "$name")
        minor=${description%% *} kind=${description##* }
        [ -n "$minor" ] || continue
        seen="$seen $name=3.$minor"
        [ "$minor" -ge 11 ] || continue
        if [ "$minor" -le 13 ] && [ "$kind" = venv ]; then
            this=1
        elif [ "$minor" -le 13 ]; then
            this=2
        elif [ "$kind" = venv ]; then
            this=3
        else
            this=4
        fi
        if [ "$this" -lt "$rank" ]; then
            BASE_PYTHON=$name BASE_MINOR=$minor BASE_KIND=$kind rank=$this
        fi
        if [ "$rank" -eq 1 ] || [ "$name" = "${PYTHON:-}" ]; then break; fi
    done
    if [ -z "$BASE_PYTHON" ]; then
        complain "Python 3.11, 3.12 or 3.13 is needed; found:${seen:- none}."
        complain "Install one (Debian 12: sudo apt-get install -y python3 python3-venv), or name one: PYTHON=/path/to/python sh demo"
        return 1
    fi
}

venv_is_healthy() {
    [ -x "$BIN/python" ] || [ -x "$BIN/python.exe" ] || return 1
    "$BIN/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || return 1
    # The environment of a folder that was moved or copied still points to the old place.
    [ ! -f "$VENV/.made-for" ] || [ "$(cat "$VENV/.made-for")" = "$ROOT" ]
}

# --- the system's packages --------------------------------------------------------------------------------------------

is_linux() { [ "$SYSTEM" = Linux ]; }
has_display() { [ -n "${DISPLAY:-}" ] || [ -n "${WAYLAND_DISPLAY:-}" ]; }
has_xvfb() { have xvfb-run && have Xvfb && have xauth; }

# Sets NO_SCREEN to the packages that a window still needs.
look_for_display() {
    NO_SCREEN=''
    is_linux || return 0
    has_display || has_xvfb || NO_SCREEN='xvfb xauth'
    for package in $("$1" "$ROOT/scripts/display_libraries.py" 2>/dev/null); do
        NO_SCREEN="$NO_SCREEN${NO_SCREEN:+ }$package"
    done
}

# Sets AS_ROOT to what must stand before a command that only root may run; fails where that takes a password.
become_root() {
    if [ "$(id -u)" = 0 ]; then
        AS_ROOT=''
    elif have sudo && sudo -n true >/dev/null 2>&1; then
        AS_ROOT='sudo -n'
    else
        return 1
    fi
}

# Installs packages, or prints the line that does. Never called when nothing is missing.
install_packages() {
    line="apt-get update && sudo apt-get install -y --no-install-recommends $*"
    if ! have apt-get; then
        complain "Missing on this system, and there is no apt-get to install it with: $*"
        return 1
    fi
    if ! become_root; then
        complain "Missing on this system: $*"
        complain "To install it, type (or ask whoever may):  sudo $line"
        return 1
    fi
    say "Installing system packages: $*"
    if dry; then
        say "would run: ${AS_ROOT:+$AS_ROOT }apt-get install -y --no-install-recommends $*"
        return 0
    fi
    log=$(mktemp)
    # A failed update need not be the end: the lists that are there may do.
    # shellcheck disable=SC2086  # two words, or none
    $AS_ROOT apt-get update -qq >"$log" 2>&1 || true
    # shellcheck disable=SC2086
    if $AS_ROOT env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
    complain "apt-get could not install that. Try it by hand:  sudo $line"
    return 1
}

# --- the environment --------------------------------------------------------------------------------------------------

# What the environment was made from. Another pyproject.toml, another constraints.txt: another stamp.
stamp_text() { cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" | cksum; }

# A profile holds the ones before it: demo < test < dev.
is_installed() {
    for profile in headless dev test demo; do
        if [ -f "$VENV/.installed-$profile" ] && [ "$(cat "$VENV/.installed-$profile")" = "$(stamp_text)" ]; then
            return 0
        fi
        [ "$profile" != "$1" ] || return 1
    done
}

pip_install() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore \
        "$BIN/python" -m pip install -qq "$@"
}

# PyPI's torch for Linux brings CUDA: 3 GB that a machine without an NVIDIA card has no use for.
install_torch() {
    wanted=$(sed -n 's/^torch==//p' "$ROOT/constraints.txt")
    found=$("$BIN/python" -c 'from importlib.metadata import version; print(version("torch").split("+")[0])' 2>/dev/null || true)
    if ! is_linux || [ "$found" = "$wanted" ]; then return 0; fi
    if have nvidia-smi && nvidia-smi >/dev/null 2>&1; then
        say "An NVIDIA driver answers: torch comes with CUDA (about 3 GB)."
        return 0
    fi
    if pip_install --no-index --no-deps "torch==$wanted" 2>/dev/null; then
        say "torch $wanted came from a wheel on this machine."
        return 0
    fi
    index=https://download.pytorch.org/whl/cpu
    if "$BIN/python" "$ROOT/scripts/index_answers.py" "$index/torch/"; then
        say "Fetching the CPU build of torch (about 190 MB) ..."
        if pip_install --index-url "$index" --no-deps "torch==$wanted"; then return 0; fi
    fi
    say "PyTorch's CPU builds cannot be reached, so torch comes from PyPI: the CUDA build, about 3 GB, which works without a GPU too."
}

install_project() {
    cd "$ROOT" || return 1
    if [ "$1" = headless ]; then
        pip_install -c constraints.txt -r requirements-headless.txt \
            hypothesis packaging pytest pytest-cov pytest-timeout &&
            pip_install --no-deps -e .
    else
        pip_install -c constraints.txt -e ".[$extras]"
    fi
}

# prepare PROFILE [screen]: with "screen", a display is looked after as well.
prepare() {
    case $1 in
        demo) extras=gui ;;
        test) extras=gui,test ;;
        dev) extras=gui,dev ;;
        headless) extras='no viewer' ;;
    esac
    if venv_is_healthy; then
        BASE_PYTHON=$BIN/python BASE_KIND=venv
    else
        find_python || return 1
    fi

    NO_SCREEN=''
    if [ "${2:-}" = screen ]; then look_for_display "$BASE_PYTHON"; fi
    wanted_packages=$NO_SCREEN
    [ "$BASE_KIND" = venv ] || wanted_packages="python3.$BASE_MINOR-venv $wanted_packages"
    # make is a convenience: worth installing, not worth asking for.
    if ! have make && { [ -n "$wanted_packages" ] || become_root; }; then
        wanted_packages="make $wanted_packages"
    fi
    is_linux || wanted_packages=''
    if [ -n "$wanted_packages" ]; then
        # shellcheck disable=SC2086  # a list of words
        if install_packages $wanted_packages; then
            if dry; then BASE_KIND=venv NO_SCREEN=''; fi
        fi
        if [ -n "$NO_SCREEN" ]; then look_for_display "$BASE_PYTHON"; fi
    fi

    if ! dry && venv_is_healthy && is_installed "$1"; then return 0; fi
    if ! venv_is_healthy; then
        if [ "$BASE_KIND" != venv ] && [ "$(describe_python "$BASE_PYTHON")" != "$BASE_MINOR venv" ]; then
            complain "Without python3.$BASE_MINOR-venv no environment can be made, so this stops here. Once it is installed, start again."
            return 1
        fi
        say "Making an environment in .venv with $BASE_PYTHON ..."
        [ ! -e "$VENV" ] || run rm -rf "$VENV" || return 1
        run "$BASE_PYTHON" -m venv "$VENV" || return 1
        dry || printf '%s\n' "$ROOT" >"$VENV/.made-for"
    fi
    if ! dry && is_installed "$1"; then return 0; fi
    say "Installing the package and what it needs ($extras); the first time takes a few minutes ..."
    if dry; then
        say "would run: pip install -c constraints.txt -e .[$extras]"
        return 0
    fi
    install_torch
    install_project "$1" || {
        complain "The installation failed; the lines above say why. Nothing is lost: start again when it is mended."
        return 1
    }
    stamp_text >"$VENV/.installed-$1"
}

# shellcheck disable=SC2034  # SCREEN is for the caller
# SCREEN: "window" on a desktop, "virtual" for a screen that nobody sees, "none" when neither can be had.
choose_display() {
    if ! is_linux; then
        SCREEN=window
    elif [ -n "$NO_SCREEN" ]; then
        SCREEN=none
    elif has_display; then
        SCREEN=window
    else
        SCREEN=virtual
    fi
}

# Runs a command on a screen that nobody sees.
run_virtual() {
    run env -u WAYLAND_DISPLAY QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1600x1000x24" "$@"
}

# Runs pytest where the viewer's half cannot even be imported. tests/conftest.py skips what asks for a viewer.
run_without_viewer() {
    run env NVS_NO_DISPLAY=1 "$BIN/python" -m pytest \
        --ignore=src/napari_virtualstain/widgets --ignore=src/napari_virtualstain/napari_io \
        --ignore=tests/widgets --ignore=tests/napari_io "$@"
}

# Builds the documentation in a folder. A warning (a dead link, a page outside the tree) is an error.
build_site() {
    "$BIN/python" -m sphinx -b html -E -W --keep-going -q "$ROOT/docs" "$1"
}
