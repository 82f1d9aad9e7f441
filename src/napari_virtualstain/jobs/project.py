"""Make a project folder, add to it, and say what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_virtualstain.datasets.project import Project, is_project
from napari_virtualstain.datasets.project_entries import InputEntry, ModelEntry, RunEntry
from napari_virtualstain.errors import SettingsError, VirtualStainError
from napari_virtualstain.generators.package import fingerprint_of, read_card
from napari_virtualstain.io.open import list_scenes
from napari_virtualstain.io.record import read_record
from napari_virtualstain.io.remote import is_remote
from napari_virtualstain.jobs.base import JobSettings, PathText
from napari_virtualstain.zoo import list_models

__all__ = ["ProjectSettings", "ProjectSummary", "add_to", "note_stain", "run", "summary"]


class ProjectSettings(JobSettings):
    """Settings of `virtualstain project`."""

    folder: PathText = Field(description="project folder")
    new: bool = Field(default=False, description="make a project there first")
    name: str | None = Field(
        default=None, description="name of a new project; the folder's if not given"
    )
    add: tuple[PathText, ...] = Field(
        default=(), description="images, results and models to add; they stay where they are"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSummary:
    """What a project holds.

    Parameters
    ----------
    folder, name, created
        Of the project.
    inputs, runs, models
        Plain values of each entry, with ``path`` and whether it is ``there``.
    regions
        How many were drawn, by purpose.
    decisions
        How many were taken, by kind and verdict.
    reports
        Names of files.
    damaged
        Sentences, one for each entry that cannot be read.
    """

    folder: str
    name: str
    created: str
    inputs: tuple[dict[str, Any], ...]
    runs: tuple[dict[str, Any], ...]
    models: tuple[dict[str, Any], ...]
    regions: dict[str, int]
    decisions: dict[str, int]
    reports: tuple[str, ...]
    damaged: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "folder": self.folder,
            "name": self.name,
            "created": self.created,
            "inputs": list(self.inputs),
            "runs": list(self.runs),
            "models": list(self.models),
            "regions": self.regions,
            "decisions": self.decisions,
            "reports": list(self.reports),
            "damaged": list(self.damaged),
        }

    def text(self) -> str:
        """Return the same for people."""
        lines = [f"project {self.name!r} in {self.folder}"]
        for title, entries in (("image", self.inputs), ("run", self.runs), ("model", self.models)):
            for entry in entries:
                gone = "" if entry["there"] else ", which is gone"
                lines.append(f"{title} {entry['label']}{gone}")
        counted = [("regions", self.regions), ("decisions", self.decisions)]
        lines += [
            f"{title}: {', '.join(f'{n} {what}' for what, n in found.items())}"
            for title, found in counted
            if found
        ]
        if self.reports:
            lines.append(f"reports: {', '.join(self.reports)}")
        if len(lines) == 1:
            lines.append("nothing yet; add images, results and models with --add")
        lines += [f"note: {sentence}" for sentence in self.damaged]
        return "\n".join(lines)


def run(settings: ProjectSettings) -> ProjectSummary:
    """Make a project or open it, add what is named, and say what it holds.

    Raises
    ------
    VirtualStainError
        If there is no such project, or what is to be added is no image, result or model. What was
        named before it is added.
    """
    folder = Path(settings.folder)
    if settings.new:
        project = Project.create(folder, name=settings.name or "")
    elif is_project(folder):
        project = Project(folder)
        if settings.name is not None:
            raise SettingsError(
                f"The project is there already, by the name {project.name!r}. Leave out --name."
            )
    else:
        raise SettingsError(f"{str(folder)!r} is no project. Make one there with --new.")
    for path in settings.add:
        add_to(project, path)
    return summary(project)


def add_to(project: Project, path: str) -> str:
    """Add what lies at a path, whatever it is; return what it was taken for.

    Returns
    -------
    str
        ``"model"``, ``"run"`` or ``"image"``.

    Raises
    ------
    VirtualStainError
        If it is none of them.
    """
    if path in list_models():
        project.add_model(path, fingerprint=fingerprint_of(list_models()[path]))
        return "model"
    if not is_remote(path):
        if Path(path).suffix == ".zip" or (Path(path) / "card.json").is_file():
            name = read_card(path).name
            project.add_model(name, path=path, fingerprint=fingerprint_of(path))
            return "model"
        if _is_stain(path):
            note_stain(project, path)
            return "run"
    list_scenes(path)  # refuses what is no image, with its own sentence
    project.add_input(path)
    return "image"


def _is_stain(path: str) -> bool:
    try:
        return bool(read_record(path)["record"].get("job") == "stain")
    except VirtualStainError:
        return False


def note_stain(project: Project, out: str | Path) -> RunEntry:
    """Note a store that a run wrote, with its input and model, by its record.

    Raises
    ------
    VirtualStainError
        If it holds no record.
    """
    state = read_record(out)
    record = state["record"]
    source, model = record.get("input") or {}, record.get("model") or {}
    stated = record.get("settings") or {}
    image: InputEntry | None = None
    if source.get("path"):
        image = project.add_input(
            source["path"],
            scene=str(source.get("scene") or ""),
            axes=stated.get("axes"),
            pattern=stated.get("pattern"),
            pixel_size_um=stated.get("pixel_size"),
            roles={str(source["channel"]): "brightfield"} if source.get("channel") else None,
        )
    used: ModelEntry | None = None
    if model.get("name"):
        own = model["name"] in list_models()
        used = project.add_model(
            str(model["name"]),
            path=None if own else model.get("path"),
            fingerprint=str(model.get("fingerprint", "")),
        )
    return project.add_run(
        out,
        verb=str(record.get("job", "stain")),
        settings=stated,
        input_id=image.id if image else None,
        model_id=used.id if used else None,
        status="complete" if state["status"] == "complete" else "partial",
    )


def summary(project: Project) -> ProjectSummary:
    """Return what a project holds."""
    folder = project.folder

    def values(entry: InputEntry | RunEntry | ModelEntry, label: str) -> dict[str, Any]:
        place = entry.out if isinstance(entry, RunEntry) else entry.place
        return {
            "id": entry.id,
            "label": label,
            "path": None if place is None else place.path(folder),
            "there": place is None or place.exists(folder),
            **entry.model_dump(mode="json", exclude={"id", "place", "out", "schema_version"}),
        }

    regions: dict[str, int] = {}
    for region in project.regions:
        regions[region.purpose] = regions.get(region.purpose, 0) + 1
    decisions: dict[str, int] = {}
    for decision in project.decisions:
        what = f"{decision.kind}: {decision.verdict}"
        decisions[what] = decisions.get(what, 0) + 1
    return ProjectSummary(
        folder=str(folder),
        name=project.name,
        created=project.created,
        inputs=tuple(values(e, _input_label(e, project)) for e in project.inputs),
        runs=tuple(values(e, _run_label(e, project)) for e in project.runs),
        models=tuple(values(e, e.name) for e in project.models),
        regions=regions,
        decisions=decisions,
        reports=tuple(report.name for report in project.reports),
        damaged=project.damaged,
    )


def _input_label(entry: InputEntry, project: Project) -> str:
    roles = [f"{channel}: {role}" for channel, role in entry.roles.items()]
    parts = [project.path_of(entry.place), *([entry.scene] if entry.scene else [])]
    return " ".join([*parts, *([f"({', '.join(roles)})"] if roles else [])])


def _run_label(entry: RunEntry, project: Project) -> str:
    said = f", {entry.status}" if entry.status != "complete" else ""
    why = f": {entry.sentence}" if entry.sentence else ""
    return f"{entry.verb} -> {project.path_of(entry.out)}{said}{why}"
