"""Names that number their axes: ``name_z00_c1.png``, ``A01_s2_w1.tif``, ``Ch3_CP0001.tif``.

A token is a letter or short word with a number, between separators. What is
left of the name tells images apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_virtualstain.io.image import Channel
from napari_virtualstain.io.layouts.base import FolderPlan, Layout, Plane, natural
from napari_virtualstain.io.modality import modality_of

__all__ = ["TOKENS"]

TOKEN = re.compile(
    r"(?:(?<=[_\-. ])|^)(?P<key>t|time|z|plane|slice|c|ch|channel|w)[_\-]?(?P<n>\d+)(?=[_\-. ]|$)",
    re.IGNORECASE,
)
AXIS = {"t": "t", "time": "t", "z": "z", "plane": "z", "slice": "z"}


def _tokens(name: str) -> tuple[dict[str, str], str]:
    """Return the token of each axis, and what is left of the name."""
    stem = name.rpartition(".")[0]
    found: dict[str, str] = {}
    for match in TOKEN.finditer(stem):
        axis = AXIS.get(match["key"].lower(), "c")
        found.setdefault(axis, match["n"] if axis != "c" else match[0])
    return found, re.sub(r"[_\-. ]{2,}", "_", TOKEN.sub("", stem)).strip("_-. ")


def _plan(files: Sequence[Path]) -> FolderPlan:
    planes = []
    for file in sorted(files, key=lambda f: natural(f.name)):
        tokens, rest = _tokens(file.name)
        planes.append(
            Plane(
                path=file,
                channel=tokens.get("c", "channel 0"),
                scene=rest,
                t=int(tokens.get("t", 0)),
                z=int(tokens.get("z", 0)),
                has_t="t" in tokens,
                has_z="z" in tokens,
            )
        )
    names = sorted({plane.channel for plane in planes}, key=natural)
    guess = (
        "The places of the files were read from their names, in which nothing but numbers tells "
        f"the channels ({', '.join(names)}). Choose by name which one is transmitted light."
    )
    channels = tuple(Channel(name, modality_of(name)) for name in names)
    return FolderPlan(planes=tuple(planes), channels=channels, guesses=(guess,))


TOKENS = Layout(
    name="numbered",
    description="name_z00_c1.png: t, z, c (also ch, w, time, slice, ...) and a number",
    matches=lambda name: bool(_tokens(name)[0]),
    plan=_plan,
)
