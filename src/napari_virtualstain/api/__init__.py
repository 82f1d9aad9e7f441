"""The verbs of the command line as functions, for scripts and notebooks.

Each takes what its settings model takes, as keywords; see the models in
`napari_virtualstain.jobs` for all of them.
"""

from napari_virtualstain.api.images import denoise, export, focus, illumination, info
from napari_virtualstain.api.judging import (
    blind,
    evaluate,
    generalise,
    phenotype,
    qc,
    recognise,
    scores,
    uncertainty,
    verdict,
)
from napari_virtualstain.api.learning import finetune, index, pairs, suggest, train
from napari_virtualstain.api.measuring import embed, measure
from napari_virtualstain.api.stains import batch, explain, passport, plan, stain, watch

__all__ = [
    "batch",
    "blind",
    "denoise",
    "embed",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "focus",
    "generalise",
    "illumination",
    "index",
    "info",
    "measure",
    "pairs",
    "passport",
    "phenotype",
    "plan",
    "qc",
    "recognise",
    "scores",
    "stain",
    "suggest",
    "train",
    "uncertainty",
    "verdict",
    "watch",
]
