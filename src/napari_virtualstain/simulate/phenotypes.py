"""Which treatments the simulator knows, and what each does to a cell.

A phenotype is a small frozen record of factors that multiply the sizes, counts
and amounts of an untreated cell.  Everything that a factor changes is changed
in the refractive index *and* in the emission, as in a treated cell.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_virtualstain.errors import UnknownNameError, did_you_mean

__all__ = ["PHENOTYPES", "Phenotype", "get_phenotype"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phenotype:
    """Factors of one treatment; 1.0 is the untreated cell throughout."""

    name: str  # registry key
    summary: str  # what a biologist would call it
    cell_radius: float = 1.0
    elongation: float = 1.0
    height: float = 1.0
    nucleus_radius: float = 1.0
    nucleolus_count: float = 1.0
    nucleolus_radius: float = 1.0
    mito_count: float = 1.0  # tubules per cell
    mito_length: float = 1.0
    er_amount: float = 1.0
    golgi_spread: float = 1.0
    actin_amount: float = 1.0
    lipid_count: float = 1.0
    ploidy: float = 1.0  # integrated DNA


_ALL = (
    Phenotype(name="control", summary="untreated, spread cells"),
    Phenotype(
        name="enlarged",
        summary="cell-cycle arrest: large flat cells, large nuclei",
        cell_radius=1.25,
        nucleus_radius=1.22,
        height=0.9,
        mito_count=1.4,
        ploidy=1.35,
    ),
    Phenotype(
        name="shrunken",
        summary="toxic: small thick cells, condensed nuclei",
        cell_radius=0.8,
        nucleus_radius=0.85,
        height=1.12,
        mito_count=0.7,
    ),
    Phenotype(
        name="fragmented_mito",
        summary="fission: many short mitochondria",
        mito_count=2.4,
        mito_length=0.35,
    ),
    Phenotype(
        name="nucleolar_stress",
        summary="inhibited ribosome synthesis: one or two small nucleoli",
        nucleolus_count=0.5,
        nucleolus_radius=0.75,
    ),
    Phenotype(
        name="bright_er",
        summary="expanded endoplasmic reticulum, lipid droplets",
        er_amount=1.6,
        lipid_count=2.0,
        height=1.05,
    ),
    Phenotype(
        name="elongated",
        summary="spindle-shaped cells with strong stress fibres",
        elongation=1.35,
        actin_amount=1.4,
        cell_radius=0.95,
    ),
    Phenotype(
        name="hyperfused_mito",
        summary="few long mitochondria",
        mito_count=0.6,
        mito_length=1.8,
    ),
    Phenotype(
        name="dispersed_golgi",
        summary="scattered Golgi, fewer stress fibres, larger nucleoli",
        golgi_spread=2.5,
        actin_amount=0.6,
        nucleolus_radius=1.2,
    ),
)

PHENOTYPES: dict[str, Phenotype] = {phenotype.name: phenotype for phenotype in _ALL}


def get_phenotype(name: str) -> Phenotype:
    """Return the phenotype that is registered under this name.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those that there are.

    Examples
    --------
    >>> get_phenotype("enlarged").nucleus_radius > 1
    True
    """
    if name not in PHENOTYPES:
        known = sorted(PHENOTYPES)
        raise UnknownNameError(
            f"No phenotype named {name!r}.{did_you_mean(name, known)} "
            f"Registered: {', '.join(known)}. Use one of these names."
        )
    return PHENOTYPES[name]
