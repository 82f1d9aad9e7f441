"""Methods that other packages bring, each an entry point."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points

from napari_virtualstain.generators.base import GeneratorSpec

__all__ = ["GROUP", "installed"]

GROUP = "napari_virtualstain.generators"
"""Name of the group: ``name = "module:SPEC"``, where SPEC is a `GeneratorSpec` of that name."""


def installed(taken: Collection[str]) -> tuple[dict[str, GeneratorSpec], dict[str, str]]:
    """Return the methods of other packages, and why those that cannot be used cannot.

    A package that is broken takes nothing else with it: its error is kept under the name of its
    entry point, and said when the name is asked for.

    Parameters
    ----------
    taken
        Names of the methods that the program brings, which no other package replaces.
    """
    found: dict[str, GeneratorSpec] = {}
    broken: dict[str, str] = {}
    for point in entry_points(group=GROUP):
        try:
            if point.name in taken or point.name in found:
                raise ValueError("there is a method of that name")
            found[point.name] = _spec(point)
        except Exception as error:  # noqa: BLE001  # whatever a module of others raises when it is imported
            broken[point.name] = _broken(point, error)
    return found, broken


def _spec(point: EntryPoint) -> GeneratorSpec:
    spec = point.load()
    if not isinstance(spec, GeneratorSpec):
        raise TypeError(f"it is a {type(spec).__name__} and no GeneratorSpec")
    if spec.name != point.name:
        raise ValueError(f"its GeneratorSpec is named {spec.name!r}")
    return spec


def _broken(point: EntryPoint, error: Exception) -> str:
    package = "?" if point.dist is None else point.dist.name
    return (
        f"The generator {point.name!r} of the package {package!r} ({point.value}) cannot be used: "
        f"{str(error) or type(error).__name__}. Correct or uninstall that package."
    )
