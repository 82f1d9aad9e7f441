"""Networks of others that run as they came: an ONNX graph, or a TorchScript module.

They are no methods: nothing of how they learnt is in them, so that they stain and are not
trained on. What a card says in ``architecture`` is what the file does not say of itself, so
that any picture can go through it; see `napari_virtualstain.nets.any_size.AnySize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.generators.forward import ForwardGenerator
from napari_virtualstain.generators.learning import LearningSettings
from napari_virtualstain.losses.descent import Learner
from napari_virtualstain.nets.any_size import AnySize
from napari_virtualstain.nets.onnx_graph import OnnxNetwork
from napari_virtualstain.nets.torchscript import TorchScriptNetwork

__all__ = ["GraphGenerator", "OnnxGenerator", "TorchScriptGenerator"]


class GraphGenerator(ForwardGenerator):
    """Predict stains with a file that holds network and weights.

    Parameters
    ----------
    in_channels, out_channels
        Planes (of a network over stacks: kinds of light) and stains.
    sizes, halo, multiple_of, before, after
        See `napari_virtualstain.nets.any_size.AnySize`.
    """

    network: ClassVar[type[OnnxNetwork] | type[TorchScriptNetwork]]

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        sizes: Sequence[Sequence[int]],
        halo: int,
        multiple_of: int,
        before: Sequence[Sequence[Any]] = (),
        after: Sequence[Sequence[Any]] = (),
    ) -> None:
        net = AnySize(
            nn.Identity(), in_channels=in_channels, sizes=sizes, halo=halo, multiple_of=multiple_of,
            before=before, after=after,
        )  # fmt: skip
        volume = len(sizes) == len("zyx")
        super().__init__(
            net, in_channels=in_channels, out_channels=out_channels, multiple_of=multiple_of,
            ndim=len(sizes), window=sizes[0][0] if volume and sizes[0][1] == 0 else None,
        )  # fmt: skip
        self._sized = net
        self.opened: OnnxNetwork | TorchScriptNetwork | None = None
        self.content = b""

    def open_graph(self, content: bytes) -> None:
        """Take the file that the network is in.

        Raises
        ------
        ModelPackageError
            If it cannot be run.
        """
        self.opened = self.network(content)
        self._sized.inner, self.content = self.opened, content

    def learner(self, settings: LearningSettings) -> Learner:
        """Refuse to teach."""
        raise SettingsError(
            "A network that came as a graph is stained with and not trained. Choose one of the "
            "methods that `virtualstain models --all` lists."
        )


class OnnxGenerator(GraphGenerator):
    """Predict stains with an ONNX graph."""

    network = OnnxNetwork


class TorchScriptGenerator(GraphGenerator):
    """Predict stains with a TorchScript module."""

    network = TorchScriptNetwork
