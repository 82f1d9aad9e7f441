"""Which verbs there are, and what happens around each of them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from math import isfinite
from threading import current_thread, main_thread
from typing import Any

import napari_virtualstain
from napari_virtualstain.cli.arguments import add_arguments, settings_from
from napari_virtualstain.cli.console import Console
from napari_virtualstain.errors import RunCancelled, VirtualStainError, did_you_mean, sentence_of
from napari_virtualstain.io.interrupts import interrupts_held

__all__ = ["VERBS", "Verb", "main"]


@dataclass(frozen=True, slots=True)
class Verb:
    """A command; its job and what shows the result are imported when it is used.

    Parameters
    ----------
    name, help
        For the command line.
    positional
        Settings given without an option.
    """

    name: str
    help: str
    positional: tuple[str, ...] = ()

    @property
    def settings(self) -> str:
        """Where its settings model is, as ``"module:Class"``."""
        return f"napari_virtualstain.jobs.{self.name}:{self.name.capitalize()}Settings"

    @property
    def run(self) -> str:
        """Where the function is that takes settings and console, as ``"module:function"``.

        It returns what ``--json`` prints, the text shown otherwise and, if what was asked for
        came out badly, a third: the sentence that is said besides, with exit code 1.
        """
        return f"napari_virtualstain.cli.verbs.{self.name}:run"


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("info", "say what is in an image file or folder", ("input",)),
        Verb("models", "list, import, download or export models; list methods", ("action", "file")),
        Verb("focus", "say how sharp each plane of a stack is, and which are in focus", ("input",)),
        Verb("illumination", "fit how unevenly a plate is lit", ("input",)),
        Verb("denoise", "take the noise from a channel, learnt from itself", ("input",)),
        Verb("passport", "say whether a model will work on a picture", ("input",)),
        Verb("plan", "say what a stain would do, without doing it", ("input",)),
        Verb("stain", "predict fluorescence from bright field", ("input",)),
        Verb("batch", "stain all images of a plate or folder", ("input",)),
        Verb("watch", "stain images as a microscope writes them", ("input",)),
        Verb("replay", "repeat a run from its record, and compare", ("record",)),
        Verb("evaluate", "compare a prediction with the true fluorescence", ("prediction",)),
        Verb("scores", "score each field, well and model, the worst first", ("prediction",)),
        Verb("verdict", "say whether the conclusion survives on predicted stains", ("prediction",)),
        Verb("phenotype", "ask tables of features whether phenotypes survive", ("prediction",)),
        Verb("recognise", "ask a network whether treatments are known again", ("prediction",)),
        Verb("blind", "let a person tell predicted from real stains, and score", ("prediction",)),
        Verb("uncertainty", "say what the spread of predicted stains is worth", ("prediction",)),
        Verb("generalise", "say what a model loses where it was not trained", ("table",)),
        Verb(
            "explain", "show what a network looked at, and whether the map may be read", ("input",)
        ),
        Verb("qc", "say which predicted fields can be trusted, worst first", ("prediction",)),
        Verb("measure", "count and measure nuclei and cells", ("input",)),
        Verb("embed", "say in numbers what an encoder sees on a plate", ("input",)),
        Verb("export", "write an image as OME-TIFF, OME-Zarr or PNG", ("input", "out")),
        Verb("pairs", "match bright field with its stains, check and split them", ("input",)),
        Verb("train", "train a model on matched images"),
        Verb("finetune", "tune a model on a handful of images, and say whether that helped"),
        Verb("index", "keep what the images are like that taught a model", ("input",)),
        Verb("suggest", "say which fields should be stained next, to tune a model"),
        Verb("simulate", "write simulated fields with known truth"),
        Verb("project", "keep together what belongs to one piece of work", ("folder",)),
        Verb("doctor", "look at this machine: what is there, and whether a stain works"),
        Verb("demo", "simulate, stain, compare and look"),
    )
}
"""Every command, by name."""
ELSEWHERE = ("plan", "stain", "evaluate", "embed")
"""Those whose job may run on another machine."""
SHARED_OUT = ("stain",)
"""Those whose job several processes may share."""


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


class _Parser(argparse.ArgumentParser):
    """One sentence and exit code 2, instead of the whole usage."""

    def error(self, message: str) -> Any:
        if "invalid choice" in message and self.prog == "virtualstain":
            tried = message.split("'")[1]
            message = f"no command named {tried!r}.{did_you_mean(tried, list(VERBS))}"
        stop = "" if message.endswith((".", "?")) else "."
        print(f"error: {message}{stop} See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(2)


class _Version(argparse.Action):
    """Looked up when asked for: reading package metadata takes longer than parsing."""

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> None:
        print(napari_virtualstain.__version__)
        parser.exit()


def _parser(verb: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the verb in use gets its options, so that others load nothing."""
    parser = _Parser(
        prog="virtualstain",
        description="Predict fluorescence from bright-field images.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for entry in VERBS.values():
        command = commands.add_parser(
            entry.name, help=entry.help, description=entry.help, allow_abbrev=False
        )
        if entry.name != verb:
            continue
        add_arguments(command, _load(entry.settings), positional=entry.positional)
        if entry.name in ELSEWHERE:
            command.add_argument(
                "--scheduler",
                metavar="ADDRESS",
                help="run on the workers of a dask scheduler, tcp://host:8786 or tls://host:8786, "
                "and not here; they must see the same files",
            )
        if entry.name in SHARED_OUT:
            command.add_argument(
                "--workers",
                metavar="N",
                help="share the tiles out over so many processes of this machine, or over one a "
                "graphics card: gpus",
            )
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.add_argument("--quiet", action="store_true", help="show errors only")
        command.add_argument("--debug", action="store_true", help="show where an error arose")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    arguments
        Without the program's name; those of the process if `None`.

    Returns
    -------
    int
        0 on success, 1 if the job failed, 2 if the command was not understood,
        130 if it was interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console()
    values: dict[str, Any] = {"debug": False}
    try:
        if not words:
            _parser(None).print_help(sys.stderr)
            return 2
        # In the middle of an import torch would abort.
        with interrupts_held():
            entry, values = _parse(words)
            console = Console(
                quiet=values["quiet"],
                scheduler=values.get("scheduler"),
                workers=values.get("workers"),
            )
            run = _load(entry.run)
        _interruptible(arguments)
        settings = settings_from(_load(entry.settings), values, positional=entry.positional)
        result, text, *bad = run(settings, console)
        print(_to_json(result) if values["json"] else _printable(text), flush=True)
        if bad:
            console.error(bad[0])
            return 1
    except RunCancelled as cancelled:
        console.error(str(cancelled))
        return 130
    except VirtualStainError as error:
        return _failed(console, str(error), values["debug"])
    except KeyboardInterrupt as interrupt:
        console.error(str(interrupt) or "Interrupted. Run the command again to start over.")
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing more to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 (the last resort, reported in full)
        return _failed(console, sentence_of(error), values["debug"])
    finally:
        if arguments is None and current_thread() is main_thread():
            # The process only tidies up now, and there is nothing left to interrupt.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


def _interruptible(arguments: Sequence[str] | None) -> None:
    """Raise at Ctrl-C from here on, in a process of our own that has ended at once until now."""
    own = arguments is None and current_thread() is main_thread()
    if own and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _parse(words: list[str]) -> tuple[Verb, dict[str, Any]]:
    """Return the command and its arguments by name."""
    verb = next((word for word in words if not word.startswith("-")), None)
    parsed, unknown = _parser(verb).parse_known_args(words)
    entry = VERBS[parsed.verb]
    if unknown:
        _refuse(unknown[0], entry)
    return entry, vars(parsed)


def _printable(text: str) -> str:
    """Return a text that standard output can show: a Windows console does not know every letter."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _refuse(word: str, entry: Verb) -> None:
    """Say that a command does not know a word, and which it may have meant."""
    option = word.partition("=")[0]
    names = {f"--{name.replace('_', '-')}": name for name in _load(entry.settings).model_fields}
    options = [name for name in names if names[name] not in entry.positional]
    hint = did_you_mean(option, options)
    if names.get(option) in entry.positional:
        order = " ".join(name.upper() for name in entry.positional)
        hint = f" Write it without {option}: `virtualstain {entry.name} {order}`."
    print(
        f"error: `virtualstain {entry.name}` does not know {word!r}.{hint} "
        f"See `virtualstain {entry.name} --help`.",
        file=sys.stderr,
    )
    raise SystemExit(2)


def _to_json(result: Any) -> str:
    """Return JSON that every parser takes: ASCII, and null for what is not a number."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        return None if isinstance(value, float) and not isfinite(value) else value

    return json.dumps(plain(result), indent=2, allow_nan=False)


def _failed(console: Console, sentence: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    console.error(sentence)
    return 1
