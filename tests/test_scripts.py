"""What do `demo` and `test` do on machines that lack something?

Each machine is a folder of small programs that stands alone in PATH, and NVS_DRY_RUN keeps the
scripts from doing anything.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = [
    "demo",
    "test",
    "scripts/setup.sh",
    "scripts/check.sh",
    "scripts/bench.sh",
    "scripts/docs.sh",
    ".ci/run",
]

if sys.platform != "linux":
    pytest.skip("the machines played here are Linux machines", allow_module_level=True)
if not (ROOT / "demo").exists():
    pytest.skip("the scripts are not part of an installed package", allow_module_level=True)

# What a Debian without anything added has, as far as the scripts use it.
ESSENTIAL = ["cat", "cksum", "dirname", "env", "mktemp", "rm", "sed", "tail", "uname"]

APT_LINE = "apt-get install -y --no-install-recommends"


class Machine:
    """A checkout in a folder with a space in its name, and the programs that are there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.bin = folder / "bin"
        self.log = folder / "called"
        self.root.mkdir(parents=True)
        self.bin.mkdir()
        self.log.touch()
        for name in ["demo", "test", "scripts", "pyproject.toml", "constraints.txt"]:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, self.root / name)
        for name in ESSENTIAL:
            (self.bin / name).symlink_to(shutil.which(name))
        self.program("make")
        for name in ["Xvfb", "xvfb-run", "xauth"]:
            self.program(name)
        self.program("apt-get", f'echo "apt-get $*" >>"{self.log}"')
        self.user(0)
        self.python(minor=11)

    def program(self, name: str, body: str = ":") -> None:
        """Put a program on the machine, or another in its place."""
        file = self.bin / name
        file.unlink(missing_ok=True)
        file.write_text(f"#!{shutil.which('sh')}\n{body}\n")
        file.chmod(0o755)

    def without(self, *names: str) -> None:
        """Take programs away."""
        for name in names:
            (self.bin / name).unlink()

    def user(self, number: int) -> None:
        """Say who is typing."""
        self.program("id", f"echo {number}")

    def python(
        self, name: str = "python3", *, minor: int = 11, venv: bool = True, lacks: str = ""
    ) -> None:
        """Put an interpreter there: with or without ensurepip, seeing Qt's libraries or not."""
        kind = "venv" if venv else "bare"
        self.program(
            name,
            'case "$*" in\n'
            f"    *ensurepip*) echo {minor} {kind} ;;\n"
            f"    *display_libraries*) echo {lacks} ;;\n"
            "    *) exit 1 ;;\n"
            "esac",
        )

    def run(
        self, script: str = "demo", *words: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts from another folder, dry."""
        return subprocess.run(
            [shutil.which("dash") or shutil.which("sh"), self.root / script, *words],
            env={"PATH": str(self.bin), "NVS_DRY_RUN": "1", **environment},
            cwd=self.bin,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("shell", ["sh", "dash"])
def test_the_scripts_are_posix_shell(shell, script):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    if not (ROOT / script).exists():
        pytest.skip(f"{script} is not part of this tree")
    done = subprocess.run([shell, "-n", ROOT / script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_machine_that_has_everything_is_asked_for_nothing(machine):
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "apt-get" not in done.stdout
    assert machine.log.read_text() == ""
    assert "would run: pip install -c constraints.txt -e .[gui]" in done.stdout


def test_without_a_display_the_window_opens_on_a_virtual_one(machine):
    last = machine.run().stdout.splitlines()[-1]
    assert "xvfb-run -a -s -screen 0 1600x1000x24" in last
    assert last.endswith(
        "/virtualstain demo --out demo-output --screenshot demo-output/screenshot.png"
    )


def test_with_a_display_the_window_opens_there(machine):
    machine.without("Xvfb", "xvfb-run", "xauth")
    done = machine.run("demo", "--field", "3", DISPLAY=":0")
    last = done.stdout.splitlines()[-1]
    assert "xvfb-run" not in done.stdout
    assert last.endswith("/virtualstain demo --out demo-output --field 3")


def test_root_installs_what_is_missing(machine):
    machine.without("make", "Xvfb", "xvfb-run", "xauth")
    machine.python(venv=False, lacks="libegl1 libxcb-cursor0")
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert (
        f"would run: {APT_LINE} make python3.11-venv xvfb xauth libegl1 libxcb-cursor0"
        in done.stdout
    )
    assert "--screenshot" in done.stdout


def test_a_user_whose_sudo_asks_nothing_installs_too(machine):
    machine.user(1000)
    machine.program("sudo", "exit 0")
    machine.python(lacks="libegl1")
    done = machine.run()
    assert f"would run: sudo -n {APT_LINE} libegl1" in done.stdout
    assert "--screenshot" in done.stdout


@pytest.mark.parametrize("sudo", ["absent", "asks for a password"])
def test_a_user_without_rights_gets_one_line_to_type_and_the_demo_stops_without_venv(machine, sudo):
    machine.user(1000)
    machine.python(venv=False)
    if sudo != "absent":
        machine.program("sudo", "exit 1")
    done = machine.run()
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Missing on this system: python3.11-venv",
        f"To install it, type (or ask whoever may):  sudo apt-get update && sudo {APT_LINE} python3.11-venv",
        (
            "Without python3.11-venv no environment can be made, so this stops here. "
            "Once it is installed, start again."
        ),
    ]
    assert machine.log.read_text() == ""


def test_a_user_without_rights_gets_the_demo_without_a_window(machine):
    machine.user(1000)
    machine.without("Xvfb")
    machine.python(lacks="libegl1")
    done = machine.run()
    assert done.returncode == 0
    assert f"sudo {APT_LINE} xvfb xauth libegl1" in done.stderr
    *_, sentence, last = done.stdout.splitlines()
    assert sentence == (
        "The demo goes on without a window, because this system lacks what one needs (named above)."
    )
    assert last.endswith("/virtualstain demo --out demo-output --no-window")


def test_a_user_without_rights_gets_the_tests_that_need_no_window(machine):
    machine.user(1000)
    machine.python(lacks="libegl1")
    last = machine.run("test", "-k", "tiling").stdout.splitlines()[-1]
    assert "env NVS_NO_DISPLAY=1" in last
    assert "--ignore=src/napari_virtualstain/widgets" in last
    assert last.endswith("-p no:pytest-qt -p no:napari -n 2 --dist loadfile -k tiling")


def test_pictures_are_taken_on_a_virtual_screen_also_where_there_is_a_real_one(machine):
    done = machine.run("scripts/docs.sh", DISPLAY=":0")
    assert (done.returncode, done.stderr) == (0, "")
    [pictures] = [line for line in done.stdout.splitlines() if "screenshots.py" in line]
    assert "xvfb-run -a -s -screen 0 1600x1000x24" in pictures


def test_without_a_display_the_site_is_made_with_the_pictures_that_are_there(machine):
    machine.user(1000)
    machine.without("Xvfb")
    machine.python(lacks="libegl1")
    done = machine.run("scripts/docs.sh")
    assert done.returncode == 1
    assert "The pictures stay as they are, because this system lacks what a window needs" in (
        done.stderr
    )
    assert "screenshots.py" not in done.stdout
    assert "would run: build_site site" in done.stdout


def test_a_user_without_rights_is_not_asked_for_make(machine):
    machine.user(1000)
    machine.without("make")
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_system_without_apt_is_told_what_is_missing(machine):
    machine.without("apt-get")
    machine.python(lacks="libegl1")
    done = machine.run()
    assert "there is no apt-get to install it with: libegl1" in done.stderr
    assert "--no-window" in done.stdout


def test_an_interpreter_that_does_not_start_is_passed_over(machine):
    machine.program("python3", 'echo "pyenv: python3: command not found" >&2; exit 127')
    machine.python("python3.12", minor=12)
    done = machine.run()
    assert done.returncode == 0
    assert "with python3.12 ..." in done.stdout


@pytest.mark.parametrize(
    ("first", "chosen"),
    [
        ({"minor": 11, "venv": False}, "python3.12"),
        ({"minor": 9}, "python3.12"),
        ({"minor": 15}, "python3.12"),
        ({"minor": 13}, "python3"),
    ],
    ids=["without venv", "too old", "untested", "complete"],
)
def test_a_complete_python_of_a_tested_version_is_preferred(machine, first, chosen):
    machine.python("python3", **first)
    machine.python("python3.12", minor=12)
    assert f"with {chosen} ..." in machine.run().stdout


def test_a_machine_without_a_new_python_is_told_which_one_to_get(machine):
    machine.python(minor=9)
    done = machine.run()
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed; found: python3=3.9." in done.stderr
    assert "sudo apt-get install -y python3 python3-venv" in done.stderr


def test_a_python_can_be_named(machine):
    machine.python("python3.12", minor=12)
    assert "with python3.12 ..." in machine.run("demo", PYTHON="python3.12").stdout


@pytest.mark.parametrize("wrong", ["python does not start", "made for another folder"])
def test_a_broken_environment_is_made_anew(machine, wrong):
    python = machine.root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexit {1 if 'start' in wrong else 0}\n")
    python.chmod(0o755)
    (machine.root / ".venv" / ".made-for").write_text("/somewhere/else\n")
    done = machine.run()
    assert f"would run: rm -rf {machine.root / '.venv'}" in done.stdout


def test_the_second_run_starts_at_once(machine):
    """A healthy environment with the right stamp is neither made nor filled again."""
    folder = machine.root / ".venv"
    (folder / "bin").mkdir(parents=True)
    for name in ["python", "virtualstain"]:
        file = folder / "bin" / name
        file.write_text(f'#!/bin/sh\ncase "$*" in *display*) ;; *) echo "{name} $*" ;; esac\n')
        file.chmod(0o755)
    sources = (machine.root / "pyproject.toml", machine.root / "constraints.txt")
    stamp = subprocess.run(
        ["cksum"], input=b"".join(f.read_bytes() for f in sources), capture_output=True, check=True
    )
    (folder / ".installed-test").write_bytes(stamp.stdout)

    done = machine.run("demo", NVS_DRY_RUN="", DISPLAY=":0")
    assert done.stdout == "virtualstain demo --out demo-output\n", (
        "a test environment serves the demo"
    )

    (machine.root / "constraints.txt").write_text("numpy==2.4.6\n")
    done = machine.run("demo", NVS_DRY_RUN="1", DISPLAY=":0")
    assert "would run: pip install" in done.stdout, "other versions, another stamp"


@pytest.mark.parametrize(
    ("nvidia", "wheel", "index", "asked", "said"),
    [
        (True, False, False, [], "An NVIDIA driver answers: torch comes with CUDA"),
        (False, True, False, ["--no-index"], "came from a wheel on this machine"),
        (False, False, True, ["--no-index", "--index-url"], "Fetching the CPU build of torch"),
        (False, False, False, ["--no-index"], "so torch comes from PyPI: the CUDA build"),
    ],
    ids=["NVIDIA card", "wheel at hand", "PyTorch's index answers", "only PyPI"],
)
def test_torch_comes_from_the_nearest_place(machine, nvidia, wheel, index, asked, said):
    (machine.root / "constraints.txt").write_text("torch==9.9.9\n")
    folder = machine.root / ".venv" / "bin"
    folder.mkdir(parents=True)
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\necho "$*" >>"{machine.log}"\n'
        'case "$*" in\n'
        f"    *--no-index*) exit {int(not wheel)} ;;\n"
        f"    *index_answers*) exit {int(not index)} ;;\n"
        "esac\n"
    )
    python.chmod(0o755)
    (folder / "virtualstain").symlink_to("/bin/true")
    machine.program("nvidia-smi", f"exit {int(not nvidia)}")

    done = machine.run("demo", NVS_DRY_RUN="", DISPLAY=":0")
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    calls = [line for line in machine.log.read_text().splitlines() if "torch==9.9.9" in line]
    assert [option for line in calls for option in asked if option in line.split()] == asked
    assert len(calls) == len(asked)
    assert "-m pip install -qq -c constraints.txt -e .[gui]" in machine.log.read_text()


def test_an_address_that_does_not_answer_is_not_waited_for():
    probe = [sys.executable, ROOT / "scripts" / "index_answers.py"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        assert subprocess.run([*probe, address], check=False).returncode == 1
        assert time.monotonic() - began < 10
    assert subprocess.run([*probe, address], check=False).returncode == 1


def test_an_address_that_answers_is_used():
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        probe = [sys.executable, ROOT / "scripts" / "index_answers.py", address]
        assert subprocess.run(probe, check=False).returncode == 0


def test_every_library_of_the_list_names_its_package(tmp_path):
    """A loader that finds nothing gives the whole list that a Debian needs."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import display_libraries as d\n"
        "def none(name): raise OSError\n"
        "print(*d.missing_packages(none)); print(*d.missing_packages(lambda name: None))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, ROOT / "scripts"],
        capture_output=True,
        text=True,
        check=True,
    )
    everything, nothing = done.stdout.split("\n")[:2]
    assert "libgl1 libegl1 libglx-mesa0 libgl1-mesa-dri" in everything
    assert len(everything.split()) == 18
    assert nothing == ""


def test_the_headless_list_agrees_with_the_dependencies():
    script = ROOT / "scripts" / "headless_requirements.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_scripts_can_be_started():
    for name in ["demo", "test", "scripts/check.sh", "scripts/bench.sh", "scripts/docs.sh"]:
        assert os.access(ROOT / name, os.X_OK), name
