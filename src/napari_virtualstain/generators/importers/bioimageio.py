"""What does a bioimage.io package say of its network? In the words of our cards, or not at all.

The description (``rdf.yaml``, format 0.5; older ones are upgraded) is read by
``bioimageio.spec``, and its files from the package alone: nothing is fetched. Of its weights the
ONNX graph is taken, else the TorchScript module. Python source that builds a network
(``pytorch_state_dict``) is a program of others and is not run.

=================================  ==============================================================
of the format                      here
=================================  ==============================================================
sizes and steps of axes, halo      the network is given pictures of any size (`nets.any_size`)
``zero_mean_unit_variance``        rule ``zscore``
``scale_range``                    rule ``percentile``, or ``minmax`` from 0 to 100
``fixed_zero_mean_unit_variance``  a step before the network or after it, as are ``scale_linear``,
                                   ``clip`` and ``sigmoid``
anything else behind the network   left out, and said on the card
=================================  ==============================================================
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from napari_virtualstain.errors import MissingInputError, ModelPackageError, from_extra
from napari_virtualstain.generators.importers.base import Defaults, Found
from napari_virtualstain.generators.importers.graphs import Described, found_graph
from napari_virtualstain.intensity import Rule
from napari_virtualstain.io.model_files import member_of_zip

__all__ = ["description_in", "read_package"]

_NEEDS = "A bioimage.io package needs the extra [bioimageio] to be read."
_NAMES = ("bioimageio.yaml", "rdf.yaml", "model.yaml")
_ORDER = ("onnx", "torchscript")
_MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6}


def description_in(path: Path) -> str | None:
    """Return the name of the description in a folder or zip, or of a file that is one."""
    if path.suffix.lower() in {".yaml", ".yml"}:
        return path.name
    if path.is_dir():
        names = [p.name for p in sorted(path.iterdir())]
    elif zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError):
            return None  # damaged: whoever reads it says so
    else:
        return None
    found = [name for name in _NAMES if name in names]
    return found[0] if found else next((n for n in names if n.endswith(".bioimageio.yaml")), None)


def read_package(path: Path, *, trusted: Callable[[str], bool]) -> Found:
    """Read a package: folder, zip, or the description in a folder.

    Parameters
    ----------
    path
        Of the package.
    trusted
        Told the sha256 of a program, returns whether it may run.

    Raises
    ------
    MissingExtraError
        If the library of the format is not installed.
    MissingInputError
        If it is not there.
    ModelPackageError
        If it is not valid, incomplete, altered, or of a kind that does not run here.
    """
    if not path.exists():
        raise MissingInputError(f"There is no package at '{path}'. Give its folder or zip.")
    name = description_in(path)
    assert name is not None
    read = _reader(path if path.is_dir() or zipfile.is_zipfile(path) else path.parent)
    content = read(name)
    assert content is not None
    descr = _loaded(content, path)
    kind, weights = _weights(descr, path)
    content = _file(weights, read, path)
    if kind == "torchscript" and not trusted(hashlib.sha256(content).hexdigest()):
        raise ModelPackageError(
            f"The weights of '{path}' are a TorchScript module, a program that may read and write "
            "files. If you trust who made it, add --trust; or ask for a package with ONNX."
        )
    if len(descr.inputs) != 1 or len(descr.outputs) != 1:
        raise ModelPackageError(
            f"'{path}' takes {len(descr.inputs)} pictures and gives {len(descr.outputs)}; this "
            "version runs those that take one and give one. Import another model."
        )
    given, result = descr.inputs[0], descr.outputs[0]
    described = _described(descr, path)
    found = found_graph(kind, content, described)
    if found.out_channels != len(_channels(result)):
        raise ModelPackageError(
            f"'{path}' describes {len(_channels(result))} stains and its network gives "
            f"{found.out_channels}. Ask its author for another one."
        )
    if given.test_tensor is None or result.test_tensor is None or not described.complete:
        return found
    grey, stains = (
        np.load(io.BytesIO(_file(one.test_tensor, read, path)), allow_pickle=False)
        for one in (given, result)
    )
    return replace(found, tensors=(grey, stains))


# --- files ----------------------------------------------------------------------------------------


def _reader(path: Path) -> Callable[[str], bytes | None]:
    def from_folder(name: str) -> bytes | None:
        member = path / name
        if not member.resolve().is_relative_to(path.resolve()):
            raise ModelPackageError(
                f"'{path}' names the file {name}, which lies outside of it. Ask its author for "
                "another package."
            )
        return member.read_bytes() if member.is_file() else None

    return from_folder if path.is_dir() else lambda name: member_of_zip(path, name)


def _loaded(text: bytes, path: Path) -> Any:
    spec = from_extra("bioimageio.spec", extra="bioimageio", needs=_NEEDS)
    v = from_extra("bioimageio.spec.model.v0_5", extra="bioimageio", needs=_NEEDS)
    try:
        # From a folder of its own: nothing but the description is looked at, and no zip stays open.
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (Path(scratch) / "rdf.yaml").write_bytes(text)
            descr = spec.load_description(
                Path(scratch) / "rdf.yaml", format_version="latest", perform_io_checks=False
            )
    except Exception as error:
        # Whatever the library raises at something that is no YAML, or no package.
        said = str(error).strip().splitlines()[0].rstrip(".")
        raise ModelPackageError(
            f"'{path}' is not read as a bioimage.io package: {said}. Copy or download it again."
        ) from error
    if isinstance(descr, v.ModelDescr):
        return descr
    said = f"it describes a {descr.type}"
    if isinstance(descr, spec.InvalidDescr):
        wrong = descr.validation_summary.errors
        first = wrong[0] if wrong else None
        said = f"{'.'.join(map(str, first.loc))}: {first.msg}" if first else "it is not valid"
    raise ModelPackageError(
        f"'{path}' is no valid description of a bioimage.io model: {said}. Ask its author for "
        "another one, or import its ONNX file and state what it takes."
    )


def _file(entry: Any, read: Callable[[str], bytes | None], path: Path) -> bytes:
    """Return a file of the package, whose hash is the one in the description if there is one."""
    name = str(entry.source)
    if "://" in name:
        raise ModelPackageError(
            f"'{path}' leaves {PurePosixPath(name).name} at {name}, and nothing is fetched. "
            "Download the whole package as a zip and import that."
        )
    content = read(name)
    if content is None:
        raise ModelPackageError(
            f"The package '{path}' lacks its file {name}. Copy or download all of it again."
        )
    if entry.sha256 is not None and hashlib.sha256(content).hexdigest() != str(entry.sha256):
        raise ModelPackageError(
            f"The file {name} of '{path}' is not the one that is described (sha256 differs): it "
            "was altered or cut short. Copy or download the package again."
        )
    return content


def _weights(descr: Any, path: Path) -> tuple[str, Any]:
    there = descr.weights.available_formats
    for kind in _ORDER:
        if kind in there:
            return kind, there[kind]
    if "pytorch_state_dict" in there:
        raise ModelPackageError(
            f"The network of '{path}' is Python source (pytorch_state_dict), which could do "
            "anything and is never run here. Ask its author for ONNX weights, or make them in a "
            "place that you trust, for example with bioimageio.core's `add_weights`."
        )
    raise ModelPackageError(
        f"'{path}' has weights for {', '.join(sorted(there))} only, which this version cannot run. "
        "Ask its author for ONNX weights."
    )


# --- what it says ---------------------------------------------------------------------------------


def _space(tensor: Any, path: Path) -> list[Any]:
    """Return the axes of space of a tensor whose axes lie as torch has them."""
    ids = [str(axis.id) for axis in tensor.axes]
    if ids not in (["batch", "channel", "y", "x"], ["batch", "channel", "z", "y", "x"]):
        raise ModelPackageError(
            f"'{path}' takes or gives axes in the order {', '.join(ids)}; this version runs batch, "
            "channel, y, x and batch, channel, z, y, x. Import another model."
        )
    return list(tensor.axes[2:])


def _channels(tensor: Any) -> list[str]:
    return [str(name) for name in tensor.axes[1].channel_names]


def _size(axis: Any, axes: Sequence[Any]) -> tuple[int, int]:
    size = axis.size
    if hasattr(size, "axis_id"):  # as long as another one
        other = next(a for a in axes if str(a.id) == str(size.axis_id))
        return _size(other, axes)
    return (size, 0) if isinstance(size, int) else (size.min, size.step)


def _length(axis: Any) -> float | None:
    """Return how long a pixel is along an axis in micrometres, `None` if that is not said."""
    factor = _MICROMETRES.get(axis.unit)
    return None if factor is None else float(f"{axis.scale * factor:.6g}")  # it may be rounded


def _described(descr: Any, path: Path) -> Described:
    given, result = descr.inputs[0], descr.outputs[0]
    axes = _space(given, path)
    y, x = axes[-2:]
    halos = [int(getattr(axis, "halo", 0)) for axis in _space(result, path)[-2:]]
    rule, before, said = _rule(given, len(_channels(given)), path)
    after, left_out = _steps(result.postprocessing)
    names = _channels(given)
    data = descr.training_data
    return Described(
        sizes=tuple(_size(axis, axes) for axis in axes),
        in_channels=len(names),
        halo=max(halos) or None,
        before=before,
        after=after,
        complete=not left_out,
        defaults=Defaults(
            title=descr.name,
            stains=_stains(result),
            channel=_light(names[0]),
            pixel_size_um=_length(y) if _length(y) == _length(x) else None,
            z_step_um=_length(axes[0]) if len(axes) == len("zyx") else None,
            input_rule=rule,
            unit="as its bioimage.io package gives it",
            licence=str(descr.license or ""),
            citation="; ".join(
                f"{entry.text}, doi:{entry.doi}" if entry.doi else entry.text
                for entry in descr.cite
            ),
            data=str(getattr(data, "name", None) or getattr(data, "id", None) or "not known"),
            limits=(*said, *left_out),
        ),
    )  # fmt: skip


def _is_number(name: str) -> bool:
    """Return whether the name of a channel says nothing, as ``channel0`` of older formats."""
    return name.lower().startswith("channel")


def _light(name: str) -> str:
    """Return the kind of light that a channel is named after; bright field if after none."""
    plain = name.lower().replace("_", "").replace(" ", "")
    if _is_number(name) or plain in {"bf", "brightfield", "transmittedlight", "transmission"}:
        return Defaults().channel
    return name


def _stains(result: Any) -> tuple[str, ...] | None:
    """Return the names of what comes out, `None` where they are numbers of channels only."""
    names = _channels(result)
    return None if all(map(_is_number, names)) else tuple(names)


def _rule(given: Any, planes: int, path: Path) -> tuple[Rule, tuple[Any, ...], tuple[str, ...]]:
    """Return what normalises grey values, steps behind it, and what has to be said."""
    steps = [step for step in given.preprocessing if step.id != "ensure_dtype"]
    rule, said = Rule(kind="none"), []
    if steps and steps[0].id in {"zero_mean_unit_variance", "scale_range"}:
        first, *steps = steps
        kwargs = first.kwargs
        axes = None if kwargs.axes is None else {str(axis) for axis in kwargs.axes}
        if planes > 1 and (axes is None or "channel" in axes):
            said.append(
                "Its package normalises all planes together; here each has its own numbers."
            )
        if axes is not None and "batch" in axes:
            said.append("Its package normalises by a whole data set; here each field by its own.")
        if first.id == "zero_mean_unit_variance":
            rule = Rule(kind="zscore", clip_sd=None)
        elif (kwargs.min_percentile, kwargs.max_percentile) == (0, 100):
            rule = Rule(kind="minmax")
        else:
            low, high = kwargs.min_percentile / 100, kwargs.max_percentile / 100
            rule = Rule(kind="percentile", low=low, high=high)
    before, left_out = _steps(steps)
    if left_out:
        raise ModelPackageError(
            f"'{path}' asks for {steps[0].id} before its network, which this version cannot do. "
            "Import another model, or one without it."
        )
    return rule, before, tuple(said)


def _steps(steps: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return what is done pixel by pixel, and a sentence for each step that is not."""
    done: list[Any] = []
    left_out = []
    for step in steps:
        if step.id == "ensure_dtype":
            continue
        kwargs = step.kwargs
        along = str(getattr(kwargs, "axis", "channel"))
        if step.id == "scale_linear" and along == "channel":
            done.append(("linear", kwargs.gain, kwargs.offset))
        elif step.id == "fixed_zero_mean_unit_variance" and along == "channel":
            mean, std = np.atleast_1d(kwargs.mean), np.atleast_1d(kwargs.std)
            done.append(("linear", (1 / std).tolist(), (-mean / std).tolist()))
        elif (
            step.id == "clip"
            and getattr(kwargs, "min_percentile", None) is None
            and (getattr(kwargs, "max_percentile", None) is None)
        ):
            done.append(("clip", kwargs.min, kwargs.max))
        elif step.id == "sigmoid":
            done.append(("sigmoid",))
        else:
            left_out.append(
                f"Its package does {step.id} afterwards, which is left out here: amounts cannot be "
                "read from its stains."
            )
    return tuple(done), tuple(left_out)
