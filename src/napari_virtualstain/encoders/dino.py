"""DINO: a student sees in small views of a picture what a teacher sees in large ones.

Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers", arXiv:2104.14294,
algorithm 1. The teacher is an exponential average of the student, and is what is kept. In WS-DINO,
Cross-Zamirski et al. 2022, arXiv:2209.07819, the small views are of another picture with the same
weak label, for example the same compound: what pictures of a compound have in common is then what
remains in the features, and what differs between plates is not.

==================  =============================  ===============================
setting             DINO                           WS-DINO (its code)
==================  =============================  ===============================
small views         of the same picture            of one other with the same label
student's tps       0.1                            0.07
teacher's tpt       0.04                           0.04
centre's m          0.9                            0.8
teacher's l         0.996 to 1, a cosine           0.99 to 1, a cosine
weight decay        0.04 to 0.4, a cosine          0
==================  =============================  ===============================

Departures: no stochastic depth in the student; and colours are not changed, since intensities are
the measurement.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from math import cos, pi
from typing import ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from napari_virtualstain.encoders.learning import Views
from napari_virtualstain.errors import SettingsError
from napari_virtualstain.losses.descent import Moment, make_optimiser
from napari_virtualstain.losses.descent_settings import DescentSettings
from napari_virtualstain.losses.distillation import distillation_loss, moved_centre
from napari_virtualstain.nets.building import ask
from napari_virtualstain.nets.projection import Projection
from napari_virtualstain.nets.vit import Positions, VisionTransformer

__all__ = [
    "DinoEncoder",
    "DinoSettings",
    "Distillation",
    "HeadSizes",
    "WeakSettings",
    "WeaklyLabelledDino",
]


class DinoSettings(DescentSettings):
    """What can be set about DINO."""

    learning_rate: float = Field(default=5e-4, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=0.04, ge=0, description="weight decay at the beginning")
    last_weight_decay: float = Field(default=0.4, ge=0, description="weight decay at the end")
    student_temperature: float = Field(default=0.1, gt=0, description="tps")
    teacher_temperature: float = Field(default=0.04, gt=0, description="tpt")
    centre_momentum: float = Field(default=0.9, ge=0, lt=1, description="m: memory of the centre")
    teacher_momentum: float = Field(
        default=0.996, ge=0, le=1, description="l: memory of the teacher's weights at the beginning"
    )
    frozen_epochs: float = Field(
        default=1.0, ge=0, description="epochs in which the prototypes stay as they were drawn"
    )


class WeakSettings(DinoSettings):
    """What can be set about WS-DINO."""

    weight_decay: float = Field(default=0.0, ge=0, description="weight decay at the beginning")
    last_weight_decay: float = Field(default=0.0, ge=0, description="weight decay at the end")
    student_temperature: float = Field(default=0.07, gt=0, description="tps")
    centre_momentum: float = Field(default=0.8, ge=0, lt=1, description="m: memory of the centre")
    teacher_momentum: float = Field(
        default=0.99, ge=0, le=1, description="l: memory of the teacher's weights at the beginning"
    )


class HeadSizes(NamedTuple):
    """How large a projection is; see `nets.projection.Projection`."""

    prototypes: int
    hidden: int
    bottleneck: int
    batch_norm: bool


class DinoEncoder:
    """A vision transformer that learns by self-distillation.

    Parameters
    ----------
    in_channels
        That go in at once.
    classes
        Must be 0: it tells none apart.
    prototypes, hidden, bottleneck, batch_norm
        Of the projection, which is used while it learns and not kept.
    patch, dim, depth, heads, image, positions
        See `nets.vit.VisionTransformer`.
    """

    learning: ClassVar[type[DescentSettings]] = DinoSettings
    ndim = 2
    classes = 0

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int = 0,
        prototypes: int = 65536,
        hidden: int = 2048,
        bottleneck: int = 256,
        batch_norm: bool = False,
        patch: int = 8,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        image: int = 224,
        positions: Positions = "dino",
    ) -> None:
        if classes:
            raise ValueError(f"it tells no classes apart, and {classes} are asked for")
        self.in_channels, self.dim, self.patch = in_channels, dim, patch
        self.depth, self.heads = depth, heads
        self.multiple_of = self.smallest = patch
        self._head = HeadSizes(prototypes, hidden, bottleneck, batch_norm)
        self._net = VisionTransformer(
            in_channels, patch=patch, dim=dim, depth=depth, heads=heads, image=image,
            positions=positions,
        )  # fmt: skip

    def module(self) -> nn.Module:
        """Return the torch module."""
        return self._net

    def learner(self, settings: DescentSettings) -> Distillation:
        """Return the teacher's student."""
        return Distillation(self._net, self._head, cast(DinoSettings, settings))

    def features(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the normalised token of each picture; see `encoders.base.Encoder`."""
        return ask(self._net, pictures)

    def attention(
        self, pictures: NDArray[np.float32], *, block: int = -1, rows: Sequence[int] = (0,)
    ) -> NDArray[np.float32]:
        """Return to what tokens attend; see `encoders.base.PatchEncoder`.

        Raises
        ------
        SettingsError
            If there is no such block or token.
        """
        depth = self.depth
        if not -depth <= block < depth:
            raise SettingsError(
                f"There is no block {block}: the network has {depth}. Choose 0 to {depth - 1}, or "
                "-1 for the last."
            )
        self._refuse_tokens(pictures, rows)
        return ask(self._net, pictures, lambda x: self._net.attention(x, block=block, rows=rows))

    def rollout(
        self, pictures: NDArray[np.float32], *, rows: Sequence[int] = (0,)
    ) -> NDArray[np.float32]:
        """Return from which tokens some come; see `encoders.base.PatchEncoder`.

        Raises
        ------
        SettingsError
            If there is no such token.
        """
        self._refuse_tokens(pictures, rows)
        return ask(self._net, pictures, lambda x: self._net.rollout(x, rows=rows))

    def _refuse_tokens(self, pictures: NDArray[np.float32], rows: Sequence[int]) -> None:
        down, across = self._net.grid(pictures.shape[2:])
        wrong = next((row for row in rows if not 0 <= row <= down * across), None)
        if wrong is not None:
            raise SettingsError(
                f"There is no token {wrong}: a picture of {down} x {across} patches has "
                f"{down * across + 1}. Choose 0 for the picture's own, or 1 to {down * across}."
            )


class WeaklyLabelledDino(DinoEncoder):
    """The same network, taught as WS-DINO."""

    learning: ClassVar[type[DescentSettings]] = WeakSettings


class _Centre(nn.Module):
    """The running mean of the teacher's scores, kept in checkpoints as networks are."""

    value: torch.Tensor

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(1, prototypes))


class Distillation:
    """Move a student toward its teacher, and the teacher a little toward the student.

    Parameters
    ----------
    teacher
        Maps pictures (B, C, Y, X) to features (B, D); its weights are what is kept.
    head
        Sizes of the projection.
    settings
        Of the method.
    """

    def __init__(self, teacher: VisionTransformer, head: HeadSizes, settings: DinoSettings) -> None:
        device = next(teacher.parameters()).device
        self._settings = settings
        self._teacher = teacher
        self._head = Projection(
            teacher.dim, head.prototypes, hidden=head.hidden, bottleneck=head.bottleneck,
            batch_norm=head.batch_norm,
        ).to(device)  # fmt: skip
        self._student = copy.deepcopy(teacher).requires_grad_(True)
        self._student_head = copy.deepcopy(self._head)
        self._centre = _Centre(head.prototypes).to(device)
        for network in (self._teacher, self._head):
            network.requires_grad_(False)
        self.networks: Mapping[str, nn.Module] = {
            "encoder": self._teacher,
            "head": self._head,
            "student": self._student,
            "student_head": self._student_head,
            "centre": self._centre,
        }
        learnt = nn.ModuleList([self._student, self._student_head])
        self._optimiser = make_optimiser(settings, learnt)
        _spare_vectors(self._optimiser)
        self.optimisers: Mapping[str, torch.optim.Optimizer] = {"student": self._optimiser}

    def step(self, batch: Views, moment: Moment) -> dict[str, float]:
        """Learn from views; see `losses.descent.Learner.step`."""
        settings = self._settings
        decay = _between(settings.weight_decay, settings.last_weight_decay, moment.done)
        self._optimiser.param_groups[0]["weight_decay"] = decay
        learns = moment.epoch >= settings.frozen_epochs
        self._student_head.last_layer.weight_v.requires_grad_(learns)
        with moment.arithmetic():
            with torch.no_grad():
                wanted = _scores(self._teacher, self._head, batch.wide)
            found = _scores(self._student, self._student_head, batch.wide, batch.narrow)
        loss = distillation_loss(
            found, wanted, self._centre.value,
            student_temperature=settings.student_temperature,
            teacher_temperature=settings.teacher_temperature,
        )  # fmt: skip
        said = moment.descend(self._optimiser, [(loss, 1.0)])
        self._centre.value = moved_centre(
            self._centre.value, wanted, momentum=settings.centre_momentum
        )
        memory = _between(settings.teacher_momentum, 1.0, moment.done)
        self._follow(memory)
        return {"loss": said}

    def _follow(self, memory: float) -> None:
        pairs = ((self._teacher, self._student), (self._head, self._student_head))
        with torch.no_grad():
            for slow, quick in pairs:
                for kept, new in zip(slow.parameters(), quick.parameters(), strict=True):
                    kept.lerp_(new.detach(), 1 - memory)


def _scores(
    network: nn.Module, head: nn.Module, *views: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """Return scores (B, K) of each view; those of one size are computed together."""
    features = [network(torch.cat(list(of_one_size))) for of_one_size in views if of_one_size]
    # All at once: normalised over the batch, a view must not be told from others by its size.
    scores = cast(torch.Tensor, head(torch.cat(features))).float()
    return scores.chunk(sum(len(of_one_size) for of_one_size in views))


def _between(first: float, last: float, done: float) -> float:
    """Return what a cosine from one value to another has come to."""
    return last + (first - last) * 0.5 * (1 + cos(pi * min(done, 1.0)))


def _spare_vectors(optimiser: torch.optim.Optimizer) -> None:
    """Let only matrices decay: biases and scales are in a group of their own, as in DINO."""
    group = optimiser.param_groups[0]
    vectors = [p for p in group["params"] if p.ndim <= 1]
    group["params"] = [p for p in group["params"] if p.ndim > 1]
    rest = {name: value for name, value in group.items() if name != "params"}
    optimiser.add_param_group({**rest, "params": vectors, "weight_decay": 0.0})
