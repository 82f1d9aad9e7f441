"""At what does an encoder look in a picture? Its attention, channel by channel, head by head."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_virtualstain.axes import PixelSize, Region
from napari_virtualstain.encoders.base import PatchEncoder
from napari_virtualstain.encoders.package import EncoderModel
from napari_virtualstain.errors import AxesError, PixelDataError, SettingsError
from napari_virtualstain.explain.attention import (
    agreement,
    attention_maps,
    enlarged,
    evenness,
    rollout_map,
    token_at,
    top_mass,
)
from napari_virtualstain.explain.methods import MethodSpec, chosen_methods
from napari_virtualstain.explain.sanity import Sanity, compared, randomise_weights, shuffled
from napari_virtualstain.inference.device import choose_device
from napari_virtualstain.io.image import LazyImage
from napari_virtualstain.io.open import open_image
from napari_virtualstain.jobs.base import Progress, stage
from napari_virtualstain.jobs.embed import EmbedSettings
from napari_virtualstain.jobs.embed_field import FieldEncoder, FieldPart
from napari_virtualstain.jobs.explain import ExplainSettings
from napari_virtualstain.jobs.explain_store import Drawn, DrawnMap
from napari_virtualstain.zoo import list_encoders, load_encoder

__all__ = ["attention_of"]

_MOST_TOKENS = 70_000
"""Patches that one picture may have; the time grows with their square."""
Picture = NDArray[np.float32]
Maps = NDArray[np.float32]


def attention_of(
    settings: ExplainSettings, image: LazyImage | None, on_progress: Progress | None
) -> Drawn:
    """Show the attention of an encoder; see `jobs.explain.run`."""
    called = f"The encoder {settings.encoder!r}"
    specs = chosen_methods(
        settings.method, of="encoder", pixel=settings.at is not None, called=called
    )
    device = choose_device(settings.device)
    model = load_encoder(str(settings.encoder))
    encoder = _with_patches(model)
    encoder.module().to(device)
    if image is None:
        image = open_image(
            settings.input, scene=settings.scene, axes=settings.axes, pattern=settings.pattern
        )
    region = _region(settings, image)
    field = FieldEncoder.for_image(model, _looking(settings), image)
    part = field.part(image, region)
    shape = _shape(part)
    if (n := shape[0] * shape[1] // encoder.patch**2) > _MOST_TOKENS:
        raise SettingsError(
            f"The picture has {n} patches of {encoder.patch} px, and more than {_MOST_TOKENS} take "
            "hours. Name a part with --region; the encoder then sees nothing else, which is "
            "another map."
        )
    token = _token(settings, part, encoder)
    other = None
    if settings.against is not None:
        other = field.part(open_image(settings.against), region)
        if _shape(other) != shape:
            raise PixelDataError(
                f"{settings.against!r} has {_shape(other)[0]} x {_shape(other)[1]} px where the "
                f"picture has {shape[0]} x {shape[1]} px. Give an image of the same field with "
                "--against."
            )
    told = stage(on_progress, "channels looked at")
    maps: list[DrawnMap] = []
    sentences = []
    told(0, len(part.pictures))
    for done, (channel, picture) in enumerate(part.pictures.items()):
        for spec in specs:
            found = _compute(spec, settings, token)
            against = None if other is None else other.pictures[channel]
            drawn, said = _maps(channel, spec, settings, encoder, picture, against, found, part)
            maps += drawn
            sentences += said
        told(done + 1, len(part.pictures))
    notes = [f"encoder {model.card.name!r}: {limit}" for limit in model.card.limits]
    notes += [*image.guesses, *field.notes]
    asks = "the picture as a whole asks" if token == 0 else f"the patch {token - 1} asks"
    notes.append(
        f"the grid is {shape[0] // encoder.patch} x {shape[1] // encoder.patch} patches of "
        f"{encoder.patch} px, and nothing finer is in the maps; {asks}"
    )
    if region is not None:
        notes.append("the encoder sees only this part, which gives other maps than the whole field")
    plane, size = part.image, part.image.pixel_size_um
    own = settings.pixel_size
    return Drawn(
        maps=tuple(maps), sentences=tuple(sentences), notes=tuple(dict.fromkeys(notes)),
        image=image, channel=", ".join(part.pictures), origin_um=plane.origin_um,
        pixel_size_um=PixelSize(size.z, own or size.y, own or size.x), ratios=part.ratios,
        device=device,
        network={
            "kind": "encoder", "name": model.card.name, "encoder": model.card.encoder,
            "path": str(model.path.resolve()), "fingerprint": model.fingerprint,
            "licence": model.card.licence, "patch": encoder.patch, "block": settings.block,
            "heads": encoder.heads, "blocks": encoder.depth, "token": token, "mass": settings.mass,
        },
    )  # fmt: skip


def _with_patches(model: EncoderModel) -> PatchEncoder:
    if isinstance(model.encoder, PatchEncoder):
        return model.encoder
    there = ", ".join(list_encoders()) or "none"
    raise SettingsError(
        f"The encoder {model.card.name!r} is a {model.card.encoder}, which has no attention. "
        f"Choose one that looks at patches (dino, wsdino) with --encoder; on this machine are: "
        f"{there}."
    )


def _looking(settings: ExplainSettings) -> EmbedSettings:
    """Return how the encoder looks at a field, as when it is embedded."""
    z = settings.z
    if z == "focus" or (z is not None and len(z) != 1):
        raise SettingsError(
            "An encoder looks at one z plane. Name it with --z, for example --z 3, or leave it out "
            "for the middle one."
        )
    channels = settings.channels
    if channels is None and settings.channel is not None:
        channels = (settings.channel,)
    return EmbedSettings(
        input=settings.input, model=str(settings.encoder), out=settings.out, scene=settings.scene,
        channels=channels, match=settings.match, z=None if z is None else z[0], t=settings.t,
        pixel_size=settings.pixel_size, resample=settings.resample, axes=settings.axes,
        pattern=settings.pattern, device=settings.device,
    )  # fmt: skip


def _region(settings: ExplainSettings, image: LazyImage) -> Region | None:
    """Return the part that is asked for, cut to the image."""
    if settings.region is None:
        return None
    top, left, bottom, right = settings.region
    height, width = image.shape[3:]
    found = (slice(max(0, top), min(bottom, height)), slice(max(0, left), min(right, width)))
    if any(part.start >= part.stop for part in found):
        raise AxesError(
            f"The part {top},{left},{bottom},{right} holds no pixel of an image of {height} x "
            f"{width} px. Choose another with --region."
        )
    return found


def _shape(part: FieldPart) -> tuple[int, int]:
    y, x = (along.stop - along.start for along in part.region)
    return (y, x)


def _token(settings: ExplainSettings, part: FieldPart, encoder: PatchEncoder) -> int:
    """Return the token that asks."""
    if settings.at is None:
        return 0
    ratios = part.ratios or (1.0, 1.0)
    y, x = (
        int((place + 0.5) // ratio) - along.start
        for place, ratio, along in zip(settings.at, ratios, part.region, strict=True)
    )
    return token_at((y, x), _shape(part), encoder.patch)


def _compute(
    spec: MethodSpec, settings: ExplainSettings, token: int
) -> Callable[[PatchEncoder, Picture], Maps]:
    """Return what computes the maps (H, G, F) of a method; a rollout is one."""
    if spec.name == "rollout":
        return lambda encoder, picture: rollout_map(encoder, picture, token=token)[None]
    return lambda encoder, picture: attention_maps(
        encoder, picture, block=settings.block, token=token
    )


def _maps(
    channel: str,
    spec: MethodSpec,
    settings: ExplainSettings,
    encoder: PatchEncoder,
    picture: Picture,
    against: Picture | None,
    compute: Callable[[PatchEncoder, Picture], Maps],
    part: FieldPart,
) -> tuple[list[DrawnMap], list[str]]:
    """Return the mean of all heads, its mask, and each head."""
    heads = compute(encoder, picture)
    mean = heads.mean(axis=0)
    mask = top_mass(mean, settings.mass)
    numbers = {
        "mass": settings.mass, "area": round(float(mask.mean()), 4),
        "entropy": round(evenness(mean), 4),
    }  # fmt: skip
    said = []
    if against is not None:
        found = agreement(mean, compute(encoder, against).mean(axis=0), settings.mass)
        numbers |= {
            "agreement_spearman": round(found.rank, 4),
            "agreement_overlap": round(found.overlap, 4),
            "overlap_by_chance": round(found.chance, 4),
        }  # fmt: skip
        said.append(f"{channel}: {spec.name} of the two pictures: {found.words()}.")
    said.append(
        f"{channel}: {settings.mass:.0%} of the {spec.name} lies in {mask.mean():.0%} of the "
        "picture."
    )
    sanity = _sanity(settings, encoder, picture, compute, mean)

    def drawn(name: str, values: NDArray[np.generic], **known: Any) -> DrawnMap:
        return DrawnMap(
            name=f"{channel} {name}", method=spec.name, values=enlarged(values, encoder.patch),
            region=part.region, **known,
        )  # fmt: skip

    if spec.name == "rollout":
        maps = [drawn("rollout", mean, sanity=sanity, numbers=numbers)]
    else:
        block = range(encoder.depth)[settings.block]
        name = f"attention, block {block + 1} of {encoder.depth}"
        maps = [drawn(f"{name}, mean of heads", mean, sanity=sanity, numbers=numbers)]
        maps += [
            drawn(f"{name}, head {number} of {encoder.heads}", one)
            for number, one in enumerate(heads, 1)
        ]
    maps.insert(1, drawn(f"{spec.name}, top {settings.mass:.0%}", mask))
    return maps, said


def _sanity(
    settings: ExplainSettings,
    encoder: PatchEncoder,
    picture: Picture,
    compute: Callable[[PatchEncoder, Picture], Maps],
    mean: Maps,
) -> Sanity | None:
    """Compare a map with those of random weights and of the picture's patches in another order."""
    if not settings.sanity:
        return None
    blind = copy.deepcopy(encoder)
    randomise_weights(blind.module(), settings.seed)
    mixed = shuffled(picture, encoder.patch, settings.seed)
    return Sanity(
        weights=compared(mean, compute(blind, picture).mean(axis=0)),
        picture=compared(mean, compute(encoder, mixed).mean(axis=0)),
    )
