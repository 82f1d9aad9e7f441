"""A folder that holds what belongs to one piece of work: images, runs, models, decisions.

Pixels stay where they are; the folder holds small text files that say where,
each readable by people and by other programs:

=====================  ======================================================
``project.json``        name and version
``inputs/*.json``       `InputEntry`: the images, and what their channels are
``runs/*.json``         `RunEntry`: what was computed, and where it lies
``models/*.json``       `ModelEntry`
``regions/*.json``      `Region`: parts of images that somebody drew
``decisions.jsonl``     `Decision`, one a line, only ever added to
``view.json``           `View`: where the user stopped
``stains/``             results for which nobody named a place
``reports/``            whatever was written for people
=====================  ======================================================

A file is replaced in one step, so that none is ever half written; one that is
damaged is named and left alone, and the rest of the project still opens.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from napari_virtualstain.datasets.project_entries import (
    SCHEMA_VERSION,
    Decision,
    Entry,
    InputEntry,
    ModelEntry,
    Place,
    Region,
    RunEntry,
    View,
    now,
    short_id,
)
from napari_virtualstain.datasets.project_files import (
    add_line,
    read_values,
    valid,
    write_values,
)
from napari_virtualstain.errors import (
    ImageFileError,
    MissingInputError,
    OutputExistsError,
    SettingsError,
    did_you_mean,
)
from napari_virtualstain.io.disk import disk_errors

__all__ = ["FILE", "Project", "is_project"]

FILE = "project.json"
FORMAT = "napari-virtualstain project"
_DECISIONS, _VIEW, _REPORTS = "decisions.jsonl", "view.json", "reports"

E = TypeVar("E", bound=Entry)


def is_project(path: Path | str) -> bool:
    """Return whether a folder is a project."""
    file = Path(path) / FILE
    return file.is_file() and FORMAT in file.read_text(encoding="utf-8", errors="replace")


class Project:
    """A project folder; nothing is kept in memory, so several programs may use one.

    Parameters
    ----------
    folder
        That holds ``project.json``.

    Raises
    ------
    MissingInputError
        If there is no such project.
    ImageFileError
        If its file is damaged, or written by a newer program.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "night"
    >>> project = Project.create(folder, name="Night run")
    >>> entry = project.add_input("field.tif", roles={"BF": "brightfield"})
    >>> [known.id == entry.id for known in Project(folder).inputs]
    [True]
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser().absolute()
        file = self.folder / FILE
        if not file.is_file():
            raise MissingInputError(
                f"{str(self.folder)!r} is no project: it holds no {FILE}. Choose the folder that "
                "does, or make a new project there."
            )
        values = read_values(file)
        if values.get("format") != FORMAT:
            raise ImageFileError(
                f"{str(file)!r} is of another program. Choose the folder of a project."
            )
        self.name = str(values.get("name") or self.folder.name)
        self.created = str(values.get("created", ""))

    @classmethod
    def create(cls, folder: Path | str, *, name: str = "") -> Self:
        """Make a project in a folder, which may hold images already.

        Raises
        ------
        OutputExistsError
            If there is a project.
        DiskError
            If the folder cannot be written.
        """
        place = Path(folder).expanduser().absolute()
        if (place / FILE).exists():
            raise OutputExistsError(
                f"{str(place)!r} is a project already. Open it, or choose another folder."
            )
        values = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "name": name or place.name,
            "created": now(),
        }
        write_values(place / FILE, values)
        return cls(place)

    # --- what it holds ----------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[InputEntry, ...]:
        """Images, in the order in which they were added."""
        return self._all(InputEntry)

    @property
    def runs(self) -> tuple[RunEntry, ...]:
        """What was computed, in order."""
        return self._all(RunEntry)

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        """Models, in the order in which they were added."""
        return self._all(ModelEntry)

    @property
    def regions(self) -> tuple[Region, ...]:
        """Parts of images, in the order in which they were drawn."""
        return self._all(Region)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided, in order; a line that was cut off is left out."""
        file = self.folder / _DECISIONS
        if not file.is_file():
            return ()
        found = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(Decision.model_validate_json(line))
            except ValidationError:
                continue
        return tuple(found)

    @property
    def view(self) -> View:
        """Where the user stopped; an empty one if that is not known."""
        file = self.folder / _VIEW
        try:
            return View.model_validate(read_values(file)) if file.is_file() else View()
        except (ValidationError, ImageFileError):
            return View()  # how something was shown is not worth an error

    @property
    def reports(self) -> tuple[Path, ...]:
        """Files in the folder of reports."""
        folder = self.folder / _REPORTS
        return tuple(sorted(p for p in folder.iterdir() if p.is_file())) if folder.is_dir() else ()

    @property
    def damaged(self) -> tuple[str, ...]:
        """Sentences, one for each entry that cannot be read and is left alone."""
        kinds = (InputEntry, RunEntry, ModelEntry, Region)
        return tuple(
            entry for kind in kinds for entry in self._read_all(kind) if isinstance(entry, str)
        )

    def path_of(self, place: Place) -> str:
        """Return where something lies now."""
        return place.path(self.folder)

    def find(self, kind: type[E], entry_id: str) -> E:
        """Return the entry of a kind by its id.

        Raises
        ------
        SettingsError
            If there is none.
        """
        for entry in self._all(kind):
            if entry.id == entry_id:
                return entry
        known = [entry.id for entry in self._all(kind)]
        raise SettingsError(
            f"The project has no entry {entry_id!r} in {kind.folder}."
            f"{did_you_mean(entry_id, known)} Choose one that is there."
        )

    # --- what is added ----------------------------------------------------------------------------

    def add_input(
        self,
        path: str | Path,
        *,
        scene: str = "",
        axes: str | None = None,
        pattern: str | None = None,
        pixel_size_um: float | None = None,
        roles: dict[str, str] | None = None,
        stains: dict[str, str] | None = None,
        partner: str | None = None,
    ) -> InputEntry:
        """Add an image, or say more of one that is there: what is not given stays as it was.

        Parameters
        ----------
        path
            File, folder or URL; need not exist.
        scene, axes, pattern, pixel_size_um, roles, stains, partner
            See `InputEntry`.
        """
        place = Place.of(path, self.folder)
        known = next(
            (e for e in self.inputs if self._same(e.place, place) and e.scene == scene), None
        )
        entry = known or InputEntry(
            id=short_id(f"{Path(place.absolute).name} {scene}", place.absolute, scene),
            place=place,
            scene=scene,
        )
        said = {
            "axes": axes,
            "pattern": pattern,
            "pixel_size_um": pixel_size_um,
            "roles": roles,
            "stains": stains,
            "partner": partner,
        }
        changed = {name: value for name, value in said.items() if value is not None}
        return self.put(entry.model_copy(update={"place": place, **changed}))

    def add_run(
        self,
        out: str | Path,
        *,
        verb: str,
        settings: dict[str, Any] | None = None,
        input_id: str | None = None,
        model_id: str | None = None,
        status: str = "complete",
        sentence: str = "",
    ) -> RunEntry:
        """Note what was computed; a run that wrote to the same place before is replaced.

        Parameters
        ----------
        out
            What it wrote.
        verb, settings, status, sentence
            See `RunEntry`.
        input_id, model_id
            Entries.
        """
        place = Place.of(out, self.folder)
        known = next((e for e in self.runs if self._same(e.out, place)), None)
        name = short_id(f"{verb} {Path(place.absolute).name}", place.absolute)
        values = {
            "id": known.id if known else name,
            "verb": verb,
            "out": place,
            "settings": settings or {},
            "input": input_id,
            "model": model_id,
            "status": status,
            "sentence": sentence,
        }
        return self.put(valid(RunEntry, values, "run"))

    def add_model(
        self, name: str, *, path: str | Path | None = None, fingerprint: str = ""
    ) -> ModelEntry:
        """Add a model; see `ModelEntry`."""
        place = None if path is None else Place.of(path, self.folder)
        entry_id = short_id(name, name, place.absolute if place else "", fingerprint)
        known = next((entry for entry in self.models if entry.id == entry_id), None)
        return known or self.put(
            ModelEntry(id=entry_id, name=name, place=place, fingerprint=fingerprint)
        )

    def put(self, entry: E) -> E:
        """Write an entry, in place of one of the same id.

        Raises
        ------
        DiskError
            If it cannot be written.
        """
        write_values(self._file(type(entry), entry.id), entry.model_dump(mode="json"))
        return entry

    def remove(self, entry: Entry) -> None:
        """Forget an entry; what it names stays where it is."""
        file = self._file(type(entry), entry.id)
        with disk_errors(file):
            file.unlink(missing_ok=True)

    def decide(
        self,
        kind: str,
        verdict: str,
        *,
        about: dict[str, str | int],
        reason: str = "",
        by: str = "",
    ) -> Decision:
        """Add a decision; see `Decision`.

        Raises
        ------
        DiskError
            If it cannot be written.
        """
        decision = Decision(kind=kind, about=about, verdict=verdict, reason=reason, by=by)
        add_line(self.folder / _DECISIONS, decision.model_dump(mode="json"))
        return decision

    def last_decision(self, kind: str, about: dict[str, str | int]) -> Decision | None:
        """Return what was decided last on something, `None` if nothing was."""
        found = [d for d in self.decisions if d.kind == kind and dict(d.about) == about]
        return found[-1] if found else None

    def set_view(self, view: View) -> None:
        """Write down where the user stopped."""
        write_values(self.folder / _VIEW, view.model_dump(mode="json"))

    def report(self, name: str) -> Path:
        """Return where a report of a name belongs; the folder is made.

        Raises
        ------
        SettingsError
            If the name is not that of a file.
        """
        if Path(name).name != name or name in ("", ".", ".."):
            raise SettingsError(
                f"{name!r} is not the name of a file. Give one without folders, for example "
                "'quality.html'."
            )
        folder = self.folder / _REPORTS
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
        return folder / name

    # --- files ------------------------------------------------------------------------------------

    def _same(self, one: Place, other: Place) -> bool:
        """Return whether two places are one, also if the project was moved in between."""
        return self.path_of(one) == self.path_of(other)

    def _file(self, kind: type[Entry], entry_id: str) -> Path:
        return self.folder / kind.folder / f"{entry_id}.json"

    def _all(self, kind: type[E]) -> tuple[E, ...]:
        found = [entry for entry in self._read_all(kind) if isinstance(entry, kind)]
        return tuple(sorted(found, key=lambda entry: (entry.added, entry.id)))

    def _read_all(self, kind: type[E]) -> Iterator[E | str]:
        folder = self.folder / kind.folder
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            try:
                entry = valid(kind, read_values(file), str(file))
            except (ImageFileError, SettingsError) as error:
                yield str(error)
                continue
            if entry.id == file.stem:  # a copy somebody made by hand is not a second entry
                yield entry
