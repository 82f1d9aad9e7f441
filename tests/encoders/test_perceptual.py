"""A classifier compares stains as a plain twin does, and prefers what is sharp and right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from resnet_twin import twin
from scipy.ndimage import gaussian_filter
from structure_classifier import card_of

from napari_virtualstain.encoders.package import EncoderModel, load_encoder_package
from napari_virtualstain.encoders.perceptual import (
    Perceptual,
    PerceptualLoss,
    check_judge,
    judged_stains,
)
from napari_virtualstain.encoders.registry import build_encoder
from napari_virtualstain.errors import ChannelError, SettingsError
from napari_virtualstain.intensity import Normalisation, Rule
from napari_virtualstain.simulate import FieldSettings, simulate_field

PLAIN = {"ndim": 2, "blocks": (1, 1), "width": 4, "bottleneck": False}
DEEP = {**PLAIN, "ndim": 3}
NAMES = ("DNA", "ER", "RNA")


def model(path, *, sizes=PLAIN, channels=1, classes=3, names=NAMES, norms=None, **card):
    """A classifier with weights at random."""
    name = {2: "resnet", 3: "resnet3d"}[sizes["ndim"]]
    encoder = build_encoder(name, in_channels=channels, classes=classes, architecture=sizes, seed=2)
    said = card_of(names, norms, encoder=name, sizes=sizes, in_channels=channels, **card)
    return EncoderModel(card=said, encoder=encoder, path=path, fingerprint="ab" * 32)


def stains(seed, *, n=3, edges=(32, 40), batch=2):
    pixels = np.random.default_rng(seed).normal(size=(batch, n, *edges))
    return torch.from_numpy(pixels.astype(np.float32))


def distance(ours, theirs):
    """Of features (1, C, *S) of each scale, in numpy."""
    each = []
    for a, b in zip(ours, theirs, strict=True):
        a, b = (x[0].numpy().reshape(x.shape[1], -1).astype(np.float64) for x in (a, b))
        length = [np.sqrt((x**2).sum(0) + 1e-10) for x in (a, b)]
        each.append(((a / length[0] - b / length[1]) ** 2).sum(0).mean())
    return np.mean(each)


@pytest.mark.parametrize("sizes", [PLAIN, DEEP], ids=["planes", "volumes"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_stain_by_itself_is_compared_as_a_plain_twin_does(sizes, channels, tmp_path):
    judge = model(tmp_path, sizes=sizes, channels=channels)
    edges = (16, 32, 24)[-sizes["ndim"] :]
    one, other = stains(0, edges=edges), stains(1, edges=edges)
    found = Perceptual(judge, NAMES).compare(one, other).distance
    weights = judge.encoder.module().state_dict()

    def features(picture):
        given = picture[None, None].repeat_interleave(channels, dim=1)
        return twin(weights, given, sizes["blocks"], sizes["ndim"], False)[0]

    with torch.no_grad():
        wanted = [
            [distance(features(one[b, c]), features(other[b, c])) for c in range(3)]
            for b in range(2)
        ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_stains_that_go_together_have_one_number_whatever_their_order(tmp_path):
    judge = model(tmp_path, channels=3, per_channel=False)
    one, other = stains(0, n=4), stains(1, n=4)
    names = ("RNA", "other", "DNA", "ER")
    perceptual = Perceptual(judge, names)
    assert (perceptual.judged, perceptual.together) == (NAMES, True)
    order = [2, 3, 0]
    net = judge.encoder.module()
    with torch.no_grad():
        for b in range(2):
            wanted = distance(
                net.scales(one[b : b + 1, order]), net.scales(other[b : b + 1, order])
            )
            found = perceptual.compare(one, other).distance
            assert found.shape == (2, 1)
            np.testing.assert_allclose(found[b, 0], wanted, rtol=1e-5)


def test_a_sharp_and_right_picture_is_nearer_than_a_blurred_one_of_lower_error(structure_encoder):
    judge = load_encoder_package(structure_encoder)
    field = simulate_field(FieldSettings(shape_px=(96, 96), n_cells=4), seed=7)  # none that taught
    truth = np.asarray(field.stains[0], np.float32)
    norms = [channel.normalisation for channel in judge.card.channels]

    def given(picture):
        seen = np.stack([n.apply(p) for n, p in zip(norms, picture, strict=True)])
        return torch.from_numpy(seen[None])

    blurred = np.stack([gaussian_filter(plane, 2) for plane in truth])
    sharp = np.roll(truth, (1, 1), axis=(1, 2))
    perceptual = Perceptual(judge, field.stain_names)
    near = perceptual.compare(given(sharp), given(truth), misplaced=True)
    far = perceptual.compare(given(blurred), given(truth))
    errors = [((given(p) - given(truth)) ** 2).mean((0, 2, 3)) for p in (sharp, blurred)]
    assert (errors[1] < errors[0]).all()
    assert (near.distance[0] < far.distance[0]).all()
    assert near.distance.mean() < 0.5 * far.distance.mean()
    # The right texture in the wrong places is as far as it gets without being another texture.
    assert (near.misplaced[0] > near.distance[0]).all()
    assert perceptual.compare(given(truth), given(truth)).distance.max() == 0


def test_what_is_missing_counts_for_nothing(tmp_path):
    perceptual = Perceptual(model(tmp_path), NAMES)
    one, other = stains(0), stains(1)
    whole = perceptual.compare(one, other)
    holed = other.clone()
    holed[0, 1] = torch.nan
    found = perceptual.compare(one, holed)
    keep = torch.ones(2, 3, dtype=torch.bool)
    keep[0, 1] = False
    torch.testing.assert_close(found.distance[keep], whole.distance[keep])
    assert found.known.tolist() == [[32 * 40, 0, 32 * 40], [32 * 40] * 3]
    # Half a picture: what lies far within the other half decides, and nothing of this one.
    half = other.clone()
    half[..., 20:] = torch.nan
    changed = one.clone()
    changed[..., 20:] = 50.0
    for a, b in ((one, half), (half, one)):
        found = perceptual.compare(a, b)
        assert torch.isfinite(found.distance).all()
        assert (found.known == 32 * 20).all()
    torch.testing.assert_close(
        perceptual.compare(changed, half).distance, perceptual.compare(one, half).distance
    )


def test_the_weights_of_the_judge_never_move_and_gradients_pass(tmp_path):
    judge = model(tmp_path)
    judge.encoder.module().train()
    perceptual = Perceptual(judge, NAMES)
    before = {k: v.clone() for k, v in judge.encoder.module().state_dict().items()}
    predicted = stains(0).requires_grad_(True)
    perceptual.compare(predicted, stains(1)).distance.sum().backward()
    assert predicted.grad.abs().amax((0, 2, 3)).min() > 0
    there = perceptual._there(torch.device("cpu")).module()
    assert all(p.grad is None for p in there.parameters())
    for name, value in there.state_dict().items():  # nor its running statistics
        assert torch.equal(value, before[name])


# As a term of a training.

TRAINING = [Normalisation(offset=100.0, scale=20.0), Normalisation(offset=5.0, scale=2.0),
            Normalisation(offset=50.0, scale=5.0)]  # fmt: skip
OWN = [Normalisation(offset=90.0, scale=30.0), Normalisation(offset=0.0, scale=9.0, low=0, high=1),
       Normalisation(offset=55.0, scale=4.0, high=2.0)]  # fmt: skip


def mean_of(perceptual, one, other):
    return perceptual.compare(one, other).distance.mean()


def test_stains_of_a_training_are_brought_to_the_units_of_the_judge(tmp_path):
    perceptual = Perceptual(model(tmp_path, norms=OWN), NAMES)
    loss = PerceptualLoss(perceptual, NAMES, TRAINING, weight=3.0)
    one, other = stains(0), stains(1)

    def by_way_of_grey_values(pixels):
        each = [
            own.apply(first.invert(pixels[:, c].numpy()))
            for c, (first, own) in enumerate(zip(TRAINING, OWN, strict=True))
        ]
        return torch.from_numpy(np.stack(each, axis=1))

    wanted = 3.0 * mean_of(perceptual, *map(by_way_of_grey_values, (one, other)))
    torch.testing.assert_close(loss(one, other), wanted, rtol=1e-4, atol=1e-6)


AS_THEY_ARE = {
    "a z-score of each picture": ({}, TRAINING),
    "fields with their own numbers": ({"norms": OWN}, None),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_stains_are_given_as_they_are_where_nothing_is_known_of_grey_values(name, tmp_path):
    card, outputs = AS_THEY_ARE[name]
    perceptual = Perceptual(model(tmp_path, **card), NAMES)
    loss = PerceptualLoss(perceptual, NAMES, outputs, weight=1.0)
    one, other = stains(0), stains(1)
    torch.testing.assert_close(loss(one, other), mean_of(perceptual, one, other))


def test_grey_values_as_they_are_are_known(tmp_path):
    perceptual = Perceptual(model(tmp_path, input_rule=Rule(kind="none")), NAMES)
    one, other = stains(0), stains(1)
    grey = [
        torch.from_numpy(np.stack([n.invert(p[:, c].numpy()) for c, n in enumerate(TRAINING)], 1))
        for p in (one, other)
    ]
    loss = PerceptualLoss(perceptual, NAMES, TRAINING, weight=1.0)
    torch.testing.assert_close(loss(one, other), mean_of(perceptual, *grey), rtol=1e-4, atol=1e-6)


def test_missing_stains_leave_the_mean_of_the_others(tmp_path):
    perceptual = Perceptual(model(tmp_path), NAMES)
    loss = PerceptualLoss(perceptual, NAMES, TRAINING, weight=1.0)
    one, other = stains(0), stains(1)
    other[:, 1] = torch.nan
    wanted = perceptual.compare(one, other).distance[:, [0, 2]].mean()
    torch.testing.assert_close(loss(one, other), wanted)
    nothing = torch.full_like(other, torch.nan)
    predicted = one.requires_grad_(True)
    found = loss(predicted, nothing)
    found.backward()
    assert found == 0
    assert (predicted.grad == 0).all()


# Who may judge.


def test_a_rule_that_a_training_has_not_is_refused(tmp_path):
    perceptual = Perceptual(model(tmp_path, input_rule=Rule(kind="percentile")), NAMES)
    with pytest.raises(SettingsError, match=r"by percentile, and in a training.*Give --perceptual"):
        PerceptualLoss(perceptual, NAMES, TRAINING, weight=1.0)


def test_an_encoder_without_classes_or_of_other_pictures_is_refused(tmp_path):
    card = model(tmp_path).card
    blind = card.model_copy(update={"classes": (), "encoder": "dino"})
    with pytest.raises(SettingsError, match=r"tells no classes apart.*Give --perceptual one"):
        check_judge(blind, ndim=2, over="")
    with pytest.raises(
        SettingsError, match=r"sees planes, and this is a stack\. Give .* volumes\."
    ):
        check_judge(card, ndim=3, over="this is a stack")
    check_judge(card, ndim=2, over="")
    vit = build_encoder("dino", in_channels=1, preset="tiny")
    with pytest.raises(SettingsError, match="tells no classes apart"):
        Perceptual(EncoderModel(card=blind, encoder=vit, path=tmp_path, fingerprint=""), NAMES)


def test_stains_that_it_does_not_know_are_not_judged(tmp_path):
    card = model(tmp_path).card
    assert judged_stains(card, ("Mito", "RNA", "DNA")) == ("RNA", "DNA")
    with pytest.raises(ChannelError, match=r"trained on DNA, ER, RNA, and none of Mito, AGP is"):
        judged_stains(card, ("Mito", "AGP"))
    anything = card.model_copy(update={"channels": ()})
    assert judged_stains(anything, ("Mito", "AGP")) == ("Mito", "AGP")
    together = card.model_copy(update={"per_channel": False})
    assert judged_stains(together, ("RNA", "ER", "X", "DNA")) == NAMES
    with pytest.raises(ChannelError, match="no channel 'ER' among"):
        judged_stains(together, ("DNA", "RNA"))
