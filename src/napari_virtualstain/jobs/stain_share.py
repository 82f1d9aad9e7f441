"""What a worker is told of a stain that several share, and what it does then.

The run itself stays where it was asked for: it opens, plans, measures grey
values, makes the store and holds its lock. Helpers are sent plain values, from
which they make the same plan and the same normalisation again, so that whoever
computes a tile computes the same numbers. They write pixels; what is to be
noted of them goes back, since the files of notes are appended by one process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.sink_write import TileWriter
from napari_virtualstain.jobs.base import make_settings
from napari_virtualstain.jobs.prepare import InputSettings, PreparedStain, prepare
from napari_virtualstain.zoo import find_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_virtualstain.axes import Region
    from napari_virtualstain.inference.norms import LayerStatistics
    from napari_virtualstain.inference.seams import SeamIndex
    from napari_virtualstain.io.image import LazyImage
    from napari_virtualstain.jobs.stain import StainSettings
    from napari_virtualstain.tiling.plan import Tile

__all__ = [
    "PROTOCOL",
    "Foreseen",
    "Helper",
    "Lines",
    "Report",
    "Share",
    "Spread",
    "as_written",
    "foresee",
    "gather_seams",
    "opened_here",
]

PROTOCOL = 1
"""Of what is sent to helpers and back; another number is another version."""

Lines = list[tuple[str, str]]
"""Notes for the store, as `io.sink.OmeZarrSink.take` takes them."""


@dataclass(slots=True)
class Report:
    """What a helper tells of tiles that it wrote.

    Parameters
    ----------
    seams
        Of these tiles, also those that wait for a neighbour.
    lines
        Notes for the store.
    steps
        What was done differently since memory ran out, in words.
    other_ways
        Tiles that were computed otherwise than planned, by how.
    """

    seams: SeamIndex
    lines: Lines = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    other_ways: dict[str, list[int]] = field(default_factory=dict)


Layers = Mapping[int, "dict[str, LayerStatistics]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a worker would do: plain values.

    Parameters
    ----------
    plan
        See `inference.planner.RunPlan.to_json`, with precision and statistics.
    device
        Where it computes.
    notes
        One sentence each.
    """

    plan: dict[str, Any]
    device: str
    notes: tuple[str, ...]

    def prepared(self, settings: InputSettings, *, image: LazyImage | None = None) -> PreparedStain:
        """Return the same run as the process has to know it that shares it out.

        The graphics card may be elsewhere, and the memory: nothing is computed here.

        Parameters
        ----------
        settings
            Of the run.
        image
            See `prepare`.
        """
        here = settings.model_copy(update={"device": "cpu"})
        found = prepare(here, image=image, recorded=self.plan)
        return replace(found, device=self.device, notes=self.notes)


def foresee(values: dict[str, Any], recorded: dict[str, Any] | None = None) -> Foreseen:
    """Plan a run with the device and the memory of this process.

    Parameters
    ----------
    values
        Of the settings of a stain.
    recorded
        As of `prepare`.
    """
    found = prepare(_settings(values), recorded=recorded)
    plan = {
        **found.run_plan.to_json(),
        "precision": found.network.precision,
        "statistics": found.statistics,
    }
    return Foreseen(plan=plan, device=found.device, notes=found.notes)


def _settings(values: dict[str, Any]) -> StainSettings:
    from napari_virtualstain.jobs.stain import StainSettings

    return make_settings(StainSettings, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Everything that a helper has to know: plain values, the same for every shard.

    Parameters
    ----------
    run
        Its number, unique.
    shape
        Of the image, spatial, in pixels.
    settings
        Values of the settings of the stain; paths are absolute.
    plan
        As of `Foreseen`.
    device
        On which every helper computes.
    threads
        Of an operation on the processor, on which the last bits depend.
    inputs
        Values of the normalisation by time point, then plane.
    model
        Fingerprint of the model.
    identity
        Fingerprint of the input.
    """

    run: str
    shape: list[int]
    settings: dict[str, Any]
    plan: dict[str, Any]
    device: str
    threads: int
    inputs: list[list[dict[str, Any]]]
    model: str
    identity: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, of which ``Share(**values)`` is the same again."""
        return asdict(self)

    @classmethod
    def of(
        cls,
        settings: StainSettings,
        prepared: PreparedStain,
        inputs: Sequence[Sequence[Normalisation]],
        record: dict[str, Any],
        *,
        run: str,
    ) -> Share:
        """Return what is sent of a run that has been prepared and measured."""
        return cls(
            run=run,
            shape=list(prepared.plan.shape),
            # By number, where focus was searched: helpers need not search it again.
            settings={
                **settings.absolute().model_dump(mode="json"),
                "z": list(prepared.planes.z),
            },
            plan=dict(record["plan"]),
            device=prepared.device,
            threads=int(record["threads"]),
            inputs=[[n.model_dump(mode="json") for n in row] for row in inputs],
            model=prepared.model.fingerprint,
            identity=prepared.image.source.identity(),
        )


def opened_here(settings: InputSettings, image: LazyImage | None) -> LazyImage:
    """Open what workers will open too, so that what is wrong here is not said of them.

    Raises
    ------
    VirtualStainError
        If input or model are not there, or the input is an array in memory, which no other
        process can read.
    """
    find_model(settings.model)
    if image is None:
        return open_image(
            settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern
        )
    if image.source.identity() is None:
        raise SettingsError(
            "An array in memory cannot be shared out to workers. Save it as OME-TIFF or "
            "OME-Zarr and stain that file, or compute in this process."
        )
    return image


class Spread(Protocol):
    """Workers that share a stain; given to `jobs.stain.run` by whoever knows some."""

    @property
    def threads(self) -> int:
        """Threads of an operation on the processor, the same for every worker."""

    def foresee(self, settings: StainSettings, recorded: dict[str, Any] | None) -> Foreseen:
        """Look whether the workers can do it, before anything is written, and plan it there."""

    def describe(self) -> dict[str, Any]:
        """Return plain values for the record: who shared the run."""

    def stain(
        self,
        share: Share,
        numbers: Sequence[int],
        take: Callable[[Report], None],
        on_tile: Callable[[int, int], None],
    ) -> None:
        """Have tiles stained.

        Parameters
        ----------
        share
            What to send.
        numbers
            Tiles that are asked for.
        take
            Called in the caller's thread with what a helper reports.
        on_tile
            Called in the caller's thread with tiles done and tiles in all. What it raises ends
            the run; what is done by then is taken first.
        """


@dataclass(eq=False)
class Helper:
    """A run as one of its workers has it open.

    Parameters
    ----------
    share
        What was sent.
    """

    share: Share
    _report: Report | None = None
    _writer: TileWriter | None = None
    _layers: dict[int, dict[str, LayerStatistics]] = field(default_factory=dict)

    @cached_property
    def prepared(self) -> PreparedStain:
        """The run, as planned and as the others have it.

        Raises
        ------
        SettingsError
            If input, model or device are not here what they are there.
        """
        share = self.share
        settings = _settings({**share.settings, "device": share.device})
        found = prepare(settings, recorded=share.plan)
        if found.model.fingerprint != share.model:
            raise SettingsError(
                f"The model {settings.model!r} is another one here than where the run was begun. "
                "Give it as a path that all workers see, or copy the same files to each."
            )
        if found.image.source.identity() != share.identity:
            raise SettingsError(
                f"The input {settings.input!r} is another one here than where the run was begun, "
                "or has changed. Put it on a disk that all workers see, and run the command again."
            )
        return found

    @cached_property
    def inputs(self) -> tuple[tuple[Normalisation, ...], ...]:
        """Normalisation by time point, then plane."""
        return tuple(
            tuple(Normalisation.model_validate(values) for values in row)
            for row in self.share.inputs
        )

    @cached_property
    def _stainer(self) -> Any:
        from napari_virtualstain.jobs.stain_network import stainer_of

        return stainer_of(
            self.prepared, self.inputs, seed=int(self.share.settings.get("seed", 0)),
            on_step=lambda words: self.report.steps.append(words),
            layers=self._layers.__getitem__,
        )  # fmt: skip

    def measure(self, t: int) -> dict[str, LayerStatistics]:
        """Return what a network with statistics of its image needs of a time point."""
        from napari_virtualstain.jobs.stain_network import measure_layers

        return measure_layers(self.prepared, self.inputs, t)

    def stain(
        self,
        numbers: Sequence[int],
        layers: Layers,
        on_tile: Callable[[int, int], None],
    ) -> None:
        """Stain tiles and write them; what there is to tell of them waits to be `taken`.

        Parameters
        ----------
        numbers
            Tiles.
        layers
            By time point: what `measure` gave, for networks that need it.
        on_tile
            As of `inference.engine.stain_tiles`.
        """
        from napari_virtualstain.inference.engine import stain_tiles

        self._layers.update(layers)
        prepared, stainer = self.prepared, self._stainer
        if self._writer is None:
            self._writer = TileWriter.join(
                Path(self.share.settings["out"]),
                send=lambda name, line: self.report.lines.append((name, line)),
            )
        writer, plan, report = self._writer, prepared.plan, self.report

        one = threading.Lock()

        def write(t: int, tile: Tile, stains: NDArray[np.float32]) -> None:
            with one:
                gather_seams(report.seams, prepared, t, tile, stains)
            region, pixels = as_written(prepared, t, tile, stains)
            writer.write(region, pixels, tile=t * len(plan) + tile.index)

        try:
            stain_tiles(
                stainer, prepared.run_plan, write,
                numbers=numbers, on_tile=on_tile, on_step=report.steps.append,
                on_other_way=lambda t, tile, way: report.other_ways.setdefault(way, []).append(
                    t * len(plan) + tile.index
                ),
            )  # fmt: skip
        finally:
            writer.sync()

    @property
    def report(self) -> Report:
        """What there is to tell since the last time that it was taken."""
        from napari_virtualstain.inference.seams import SeamIndex

        if self._report is None:
            self._report = Report(SeamIndex(tuple(self.share.shape)))
        return self._report

    def taken(self) -> Report:
        """Return the report, and begin another."""
        report, self._report = self.report, None
        return report

    def close(self) -> None:
        """Let go of the store."""
        if self._writer is not None:
            self._writer.close()


def as_written(
    prepared: PreparedStain, t: int, tile: Tile, stains: NDArray[np.float32]
) -> tuple[Region, NDArray[np.float32]]:
    """Return where a tile's stains (stains * z, y, x) belong in the store, and as it takes them."""
    depth = prepared.depth or 1
    # (C * z, y, x) -> (1, C, z, y, x)
    pixels = stains.reshape(1, -1, depth, *stains.shape[1:])
    region = (slice(t, t + 1), slice(0, pixels.shape[1]), slice(0, depth), *tile.write)
    return region, pixels


def gather_seams(
    seams: SeamIndex, prepared: PreparedStain, t: int, tile: Tile, stains: NDArray[np.float32]
) -> None:
    """Take a tile into the seam index of its run, in the parts that the network saw apart.

    Of a stack the plane in its middle stands for all.
    """
    from napari_virtualstain.inference.planner import cells_of

    depth = prepared.depth or 1
    stains = stains[depth // 2 :: depth]
    for part in cells_of(prepared.run_plan, tile):
        inner = tuple(
            slice(a.start - b.start, a.stop - b.start)
            for a, b in zip(part, tile.write, strict=True)
        )
        seams.add(part, stains[(slice(None), *inner)], plane=t)
