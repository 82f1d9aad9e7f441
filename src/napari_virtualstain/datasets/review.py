"""What did a person decide about a predicted field? Decisions, kept beside the data.

What `virtualstain qc` says is a proposal. Somebody who looks accepts a field, rejects it, or
rejects what is marked in it; that is written next to the prediction, and goes with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_virtualstain.datasets.project_files import read_values, valid, write_values
from napari_virtualstain.io.folder import review_folder

__all__ = ["Decision", "Review", "Verdict", "read_review", "write_review"]

Verdict = Literal["accepted", "rejected", "rejected in part"]
Key = tuple[str, str]
FILE = "review.json"


class Decision(BaseModel):
    """What was decided about one time point of one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="of the image, below what was judged")
    scene: str = ""
    time: int = 0
    verdict: Verdict
    comment: str = ""
    state: str = Field(default="", description="what the checks had said")
    reason: str = Field(default="", description="and why")
    when: str = Field(default="", description="date and time, UTC")
    marks: str | None = Field(
        default=None, description="picture in this folder that is not 0 where it was rejected"
    )

    @property
    def key(self) -> Key:
        """Which image is meant."""
        return self.path, self.scene


class Review(BaseModel):
    """All decisions about one image, plate or folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    decisions: tuple[Decision, ...] = ()

    def of(self, key: Key, t: int) -> Decision | None:
        """Return what was decided about a time point of an image, `None` for nothing."""
        found = (one for one in self.decisions if (one.key, one.time) == (key, t))
        return next(found, None)

    def decided(self, decision: Decision) -> Review:
        """Return the same with another decision, in the place of that before it."""
        kept = self.without(decision.key, decision.time).decisions
        return self.model_copy(update={"decisions": (*kept, decision)})

    def without(self, key: Key, t: int) -> Review:
        """Return the same without what was decided about a time point of an image."""
        kept = tuple(one for one in self.decisions if (one.key, one.time) != (key, t))
        return self.model_copy(update={"decisions": kept})


def read_review(prediction: str | Path) -> Review:
    """Return what was decided about a prediction, nothing if nobody has looked at it.

    Raises
    ------
    ImageFileError, SettingsError
        If the file is damaged, of a newer program, or something else.
    """
    file = review_folder(prediction) / FILE
    return valid(Review, read_values(file), str(file)) if file.exists() else Review()


def write_review(prediction: str | Path, review: Review) -> Path:
    """Write decisions in one step; return the file.

    Raises
    ------
    DiskError
        If they cannot be written.
    """
    file = review_folder(prediction) / FILE
    write_values(file, review.model_dump(mode="json"))
    return file
