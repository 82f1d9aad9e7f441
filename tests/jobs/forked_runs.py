"""Command lines in processes of their own that can be killed, without the seconds of the imports.

The tests start it as ``python forked_runs.py``. It loads what a stain needs and says ``ready``.
For each line of JSON (words, environment, a file for what is printed) it forks a process that is
`virtualstain WORDS`, says its number and, once it has ended and is gone, its exit code.
"""

import json
import os
import sys
from importlib import import_module

# What a stain loads. Nothing is computed before the forks, and no thread begun: neither would
# live on in a child.
MODULES = (
    "napari_virtualstain.cli.verbs.stain", "napari_virtualstain.compute.work",
    "napari_virtualstain.generators.unet", "napari_virtualstain.inference.engine",
    "napari_virtualstain.inference.planner", "napari_virtualstain.inference.seams",
    "napari_virtualstain.inference.shared", "napari_virtualstain.io.tiff",
    "napari_virtualstain.io.tiff_file", "napari_virtualstain.jobs.stain_network",
    "napari_virtualstain.nets.unet", "dask.array", "distributed", "safetensors.torch", "tifffile",
    "torch._dynamo", "zarr", "zarr.codecs", "zarrs",
)  # fmt: skip


def say(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def become(words, environment, log):
    from napari_virtualstain.cli import main

    code = 70
    try:
        os.environ.update(environment)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        os.dup2(1, 2)
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    for module in MODULES:
        import_module(module)
    say("ready")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            become(**json.loads(line))
        say(pid)
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
