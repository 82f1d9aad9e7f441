"""How one stain is shared out over the workers of a scheduler.

The process that was asked coordinates: it looks whether every worker can help,
has one of them plan, cuts the tiles into shards, hands a shard to each worker
that is free (`compute.dispatch`), and notes in the store what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_virtualstain.compute.crew import Crew
from napari_virtualstain.compute.dispatch import Dispatcher, Unit, Work
from napari_virtualstain.compute.helping import (
    close_run,
    foresee_there,
    measure_there,
    stain_there,
)
from napari_virtualstain.io.disk import disk_errors
from napari_virtualstain.jobs.stain_share import Foreseen, Report, Share

if TYPE_CHECKING:
    from distributed import Client

    from napari_virtualstain.jobs.stain import StainSettings

__all__ = ["ClusterSpread"]


class ClusterSpread:
    """Shares stains out over the workers of a scheduler.

    Parameters
    ----------
    client
        Connected to it.
    where
        The scheduler as people know it.
    on_note
        Told of workers that went or cannot help.
    on_wait
        Called while nothing is done but waiting; what it raises ends the waiting.
    expected
        Workers that are just being started, to wait for.
    """

    def __init__(
        self,
        client: Client,
        *,
        where: str,
        on_note: Callable[[str], None] = lambda text: None,
        on_wait: Callable[[], None] = lambda: None,
        expected: int = 1,
    ) -> None:
        self._wait = on_wait
        self._client, self._where = client, where
        self._expected = expected
        self._crew = Crew(client, where=where, on_note=on_note, on_wait=on_wait)
        self._dispatcher = Dispatcher(client, self._crew, where=where, on_note=on_note)

    # --- before anything is written ---------------------------------------------------------------

    @property
    def threads(self) -> int:
        """Threads of an operation on the processor; those of the worker that has the fewest."""
        return self._crew.threads

    def describe(self) -> dict[str, Any]:
        """Return who shares a run."""
        members = self._crew.members
        return {
            "scheduler": self._where,
            "workers": len(members),
            "hosts": len({member.host for member in members}),
        }

    def foresee(self, settings: StainSettings, recorded: dict[str, Any] | None) -> Foreseen:
        """Look whether the workers can help, and let one of them plan.

        Raises
        ------
        ComputeError
            If there is none, or one of them cannot help.
        VirtualStainError
            What planning raises.
        """
        values = settings.absolute().model_dump(mode="json")
        with _probe(Path(values["out"])) as probe:
            self._crew.muster(values, str(probe), expected=self._expected)
        values["memory"] = self._crew.memory(settings.memory)
        unit = Unit(foresee_there, (values, recorded))
        alone = Work(run="", take=lambda tiles, report: None, on_tick=self._wait)
        (answer,) = self._dispatcher.work([unit], alone)
        return Foreseen(plan=answer["plan"], device=answer["device"], notes=tuple(answer["notes"]))

    # --- the run ----------------------------------------------------------------------------------

    def stain(
        self,
        share: Share,
        numbers: Sequence[int],
        take: Callable[[Report], None],
        on_tile: Callable[[int, int], None],
    ) -> None:
        """Have tiles stained; see `jobs.stain_share.Spread`.

        Raises
        ------
        ComputeError
            If a shard lost its worker twice, or scheduler or workers are gone.
        VirtualStainError
            What a worker raised.
        """
        # Loads torch, which is not wanted where a session is made.
        from napari_virtualstain.inference.planner import recorded_plan
        from napari_virtualstain.jobs.shards import cut_shards

        plan = recorded_plan(share.plan, share.shape)
        assert plan is not None
        self._crew.seen_at(str(Path(share.settings["out"]) / "zarr.json"))
        values, total, done = share.to_json(), len(numbers), 0

        def tick() -> None:
            # All only once, at the end: until then something may still have to be done again.
            on_tile(min(done + self._dispatcher.progress, total - 1), total)

        def taken(tiles: int, report: Report) -> None:
            nonlocal done
            take(report)
            done += tiles

        work = Work(run=share.run, take=taken, on_tick=tick)
        try:
            tick()
            layers: dict[int, dict[str, Any]] = {}
            # What is drawn measures its statistics anew before each step, where it is drawn.
            if share.plan.get("statistics") in {"frozen", "exact"} and not plan.passes:
                times = sorted({number // len(plan.tiles) for number in numbers})
                answers = self._dispatcher.work(
                    [Unit(measure_there, (values, t)) for t in times], work
                )
                layers = {t: found["layers"] for t, found in zip(times, answers, strict=True)}
            shards = cut_shards(plan, numbers, len(self._crew.members))
            units = []
            for shard in shards:
                needed = {t: layers[t] for t in {n // len(plan.tiles) for n in shard} & set(layers)}
                units.append(Unit(stain_there, (values, shard, needed)))
            self._dispatcher.work(units, work)
            on_tile(total, total)
        finally:
            self._let_go(share.run)

    def _let_go(self, run: str) -> None:
        from distributed import fire_and_forget

        if self._client.status != "running":
            return
        for member in self._crew.members:
            with suppress(OSError, TimeoutError):
                fire_and_forget(
                    self._client.submit(
                        close_run, run, workers=[member.address], pure=False, retries=0
                    )
                )


@contextmanager
def _probe(out: Path) -> Iterator[Path]:
    """Make a file where the output will be, for workers to look whether they see it."""
    folder = next(path for path in out.absolute().parents if path.is_dir())
    file = folder / f".{out.name}.{uuid4().hex}.probe"
    with disk_errors(file):
        file.touch()
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)
