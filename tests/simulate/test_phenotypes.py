"""Does each treatment change what its record says, in the images?"""

from functools import cache

import numpy as np
import pytest
from skimage.measure import label, regionprops

from napari_virtualstain.simulate import PHENOTYPES, STAINS, FieldSettings, simulate_field


@cache
def treated(name):
    settings = FieldSettings(shape_px=(230, 230), density_per_mm2=350, phenotype=name)
    return simulate_field(settings, seed=21)


def whole(labels):
    """The objects that no edge of the field cuts."""
    edge = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return [r for r in regionprops(labels) if r.label not in edge]


def nucleus_area(field):
    return np.mean([r.area for r in whole(field.nuclei[0])])


def cell_elongation(field):
    cells = whole(field.cells[0])
    return np.mean([r.axis_major_length / r.axis_minor_length for r in cells])


def mean_of(name, field):
    inside = field.cells[0] > 0
    return field.truth[0, STAINS.index(name)][inside].mean()


def mito_pieces(field):
    """Number of bright mitochondria for each cell."""
    mito = field.truth[0, STAINS.index("Mito")]
    background = np.percentile(mito, 1)
    pieces = label(mito > background + 0.25 * (np.percentile(mito, 99.5) - background))
    return pieces.max() / len(np.unique(field.cells))


def nucleolar_rna(field):
    rna = field.truth[0, STAINS.index("RNA")]
    nuclei = [rna[field.nuclei[0] == r.label] for r in whole(field.nuclei[0])]
    return np.mean([np.clip(n - 1.5 * np.median(n), 0, None).sum() for n in nuclei])


def actin(field):
    agp, inside = field.truth[0, STAINS.index("AGP")], field.cells[0] > 0
    return np.mean(agp[inside] > 1.5 * np.median(agp[inside]))


CASES = [
    ("enlarged", nucleus_area, 1.15),
    ("shrunken", nucleus_area, -0.85),
    ("bright_er", lambda field: mean_of("ER", field), 1.15),
    ("fragmented_mito", mito_pieces, 1.1),
    ("hyperfused_mito", mito_pieces, -0.9),
    ("nucleolar_stress", nucleolar_rna, -0.6),
    ("elongated", cell_elongation, 1.08),
    ("dispersed_golgi", actin, -0.97),
]


@pytest.mark.parametrize(("name", "measure", "factor"), CASES, ids=[case[0] for case in CASES])
def test_a_phenotype_changes_what_it_says(name, measure, factor):
    """A positive factor is the least growth, a negative one the least decline."""
    ratio = measure(treated(name)) / measure(treated("control"))
    assert ratio > factor if factor > 0 else ratio < -factor


def test_every_phenotype_is_tested_or_the_control():
    # Of a simulated plate there are weaker ones besides, such as "enlarged@0.6".
    whole = {name for name in PHENOTYPES if "@" not in name}
    assert {case[0] for case in CASES} | {"control"} == whole


def test_a_record_has_the_name_it_is_registered_under():
    assert all(name == phenotype.name for name, phenotype in PHENOTYPES.items())
    assert all(phenotype.summary for phenotype in PHENOTYPES.values())
