"""Write a generator of your own, that is listed, trained and stained with like any other.

A method is a `GeneratorSpec`, which describes it, and a function (or class) that builds it. The
program finds it by an entry point in the pyproject.toml of your package:

    [project.entry-points."napari_virtualstain.generators"]
    two_layers = "write_your_own_generator:SPEC"

After `pip install .` in your package, `virtualstain models` lists the method and
`virtualstain train --generator two_layers` trains it. To see that without a package of your own:

    python examples/write_your_own_generator.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_virtualstain.generators.base import GeneratorSpec

if TYPE_CHECKING:
    from napari_virtualstain.generators.forward import ForwardGenerator

SPEC = GeneratorSpec(
    name="two_layers",
    title="Two wide convolutions, an example",
    target="write_your_own_generator:build",
    ndim=(2,),  # over planes; 3 is over stacks
    stochastic=False,  # another seed gives the same stain
    source="https://docs.pytorch.org",  # DOI of the method
    presets={"small": {"width": 32, "look": 9}, "tiny": {"width": 8, "look": 5}},
)


def build(*, in_channels: int, out_channels: int, width: int, look: int) -> ForwardGenerator:
    """Return the network, with random weights: (B, planes, Y, X) to (B, stains, Y, X)."""
    # Imported here, not above: whoever lists methods, such as the viewer, has no torch.
    from torch import nn

    from napari_virtualstain.generators.forward import ForwardGenerator

    net = nn.Sequential(
        nn.Conv2d(in_channels, width, look, padding=look // 2),
        nn.ReLU(),
        nn.Conv2d(width, out_channels, look, padding=look // 2),
    )
    return ForwardGenerator(
        net, in_channels=in_channels, out_channels=out_channels, multiple_of=1
    )  # no pooling, so that a picture may have any size


def pretend_to_be_installed(folder: Path) -> None:
    """Write what pip writes of a package, and look for packages there."""
    about = folder / "two_layers-0.1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: two-layers\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(
        "[napari_virtualstain.generators]\ntwo_layers = write_your_own_generator:SPEC\n"
    )
    sys.path[:0] = [str(folder), str(Path(__file__).parent)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="takes images, model and stain")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    pretend_to_be_installed(options.folder)

    from train_on_simulated_pairs import write_pairs

    from napari_virtualstain import GENERATORS, evaluate, stain, train

    print(f"listed: {GENERATORS['two_layers'].title}")
    inputs, targets = write_pairs(options.folder)
    model = str(options.folder / "model")
    trained = train(
        input=inputs[:2], target=targets[:2], stains=["DNA", "RNA"], out=model,
        generator="two_layers", preset="tiny", steps=options.steps, batch=2, patch=32,
        validation=0, overwrite=True,
    )  # fmt: skip
    print(f"trained: {trained.steps} steps")
    out = options.folder / "stain.ome.zarr"
    stain(inputs[2], model=model, out=out, overwrite=True)
    for score in evaluate(out, target=targets[2]).scores:
        print(f"{score.stain}: PCC {score.pcc:.2f}, a linear filter {score.floor_pcc:.2f}")


if __name__ == "__main__":
    main()
