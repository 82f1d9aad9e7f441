"""Is the bright field as the model knows it? The checks of `virtualstain passport`."""

from __future__ import annotations

from pathlib import Path

from napari_virtualstain.errors import VirtualStainError
from napari_virtualstain.jobs.picture import PictureSettings
from napari_virtualstain.jobs.qc_field import JudgedImage
from napari_virtualstain.qc.check import Finding

__all__ = ["passport_findings"]


def passport_findings(image: JudgedImage, t: int, notes: list[str]) -> list[Finding]:
    """Return what the passport of a bright field says, none where model or image are not at hand.

    Parameters
    ----------
    image
        Prediction with its record.
    t
        Time point.
    notes
        Where it is said why there is none.
    """
    from napari_virtualstain.jobs import passport

    model = (image.record.get("model") or {}).get("path")
    if image.source is None:
        return []
    if model is None or not Path(model).exists():
        notes.append(
            "the model of the run is not at hand, so that the bright field is not compared with "
            "its training images"
        )
        return []
    asked = image.record.get("settings") or {}
    chosen = {k: v for k, v in asked.items() if k in PictureSettings.model_fields and v is not None}
    chosen |= {
        "model": model, "channel": image.channel, "t": min(t, image.source.shape[0] - 1),
        "pixel_size": asked.get("pixel_size") or image.source.pixel_size_um.y or image.pixel_um,
    }  # fmt: skip
    try:
        settings = passport.PassportSettings.model_validate(chosen)
        found = passport.run(settings, image=image.source)
    except (VirtualStainError, ValueError) as error:
        notes.append(f"no passport of the bright field: {error}")
        return []
    return [
        Finding(
            check=f"passport {one.name.lower()}", title=f"{one.name} of the bright field",
            state=one.status, usual=one.trained, advice=one.advice,
            reason="" if one.status == "green" else f"{one.found}: {one.reason}",
        )
        for one in found.checks
    ]  # fmt: skip
