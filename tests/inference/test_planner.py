"""The plan fits the budget, and says what it is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import NETS, trained, volume
from torch import nn

from napari_virtualstain.errors import SettingsError
from napari_virtualstain.inference.network import prepare_network
from napari_virtualstain.inference.planner import host_bytes, plan_run, recorded_plan
from napari_virtualstain.nets.unet import UNet

UNET = prepare_network(trained(NETS["unet"]))
NORMED = prepare_network(
    nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.Conv2d(8, 3, 1))
)
LINEAR = prepare_network(
    nn.Sequential(nn.Conv2d(2, 4, 2, 2), nn.Upsample(scale_factor=2, mode="bilinear"))
)
WIDE = prepare_network(UNet(3, 5, depth=5, width=32, norm="batch"))


def planned(network=UNET, shape=(4096, 4096), **keywords):
    return plan_run(network, shape, **{"budget": 10**10, "out_channels": 3, **keywords})


CHOICES = {
    "a network of rows streams": (UNET, {}, "stream"),
    "tiles are asked for": (UNET, {"tile": 512}, "halo"),
    "tiles are asked for by mode": (UNET, {"mode": "halo"}, "halo"),
    "all at once is asked for": (UNET, {"mode": "whole"}, "whole"),
    "statistics want the whole": (NORMED, {}, "whole"),
    "statistics where the whole does not fit": (NORMED, {"budget": 5 * 10**8}, "stream"),
    "no rows, tiles": (LINEAR, {}, "halo"),
    "resampling needs tiles": (UNET, {"streams": False}, "halo"),
}


@pytest.mark.parametrize(("network", "keywords", "mode"), CHOICES.values(), ids=CHOICES)
def test_the_mode_is_chosen_by_network_and_budget(network, keywords, mode):
    plan = planned(network, **keywords)
    assert plan.mode == mode
    assert plan.bytes <= keywords.get("budget", 10**10)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    st.sampled_from([3 * 10**8, 6 * 10**8, 2 * 10**9]),
    st.sampled_from(["auto", "stream", "halo"]),
)
def test_a_plan_partitions_the_image_in_chunks_within_the_budget(shape, budget, mode):
    plan = planned(shape=shape, budget=budget, mode=mode)
    assert plan.bytes <= budget
    tiles = plan.tiles
    for core, length, count in zip(tiles.core, shape, tiles.grid, strict=True):
        # A border between tiles lies between chunks, or tiles are smaller than one.
        assert count == 1 or core % 512 == 0 or (plan.mode == "halo" and 512 % core == 0)
        assert core <= max(512, length + 511)
    if plan.mode == "stream":
        assert plan.band % tiles.multiple_of[plan.axis] == 0
        assert plan.overhead >= 1


def test_a_wide_image_is_cut_into_stripes_before_bands_get_thin():
    roomy, tight = (planned(WIDE, (9000, 32768), budget=b) for b in (16 * 10**9, 12 * 10**8))
    assert roomy.mode == tight.mode == "stream"
    assert tight.tiles.core[1] < roomy.tiles.core[1]
    assert 1.0 < tight.overhead < 1.5
    assert roomy.overhead < 1.001


def test_memory_of_a_stream_does_not_grow_with_the_height():
    small, large = (planned(WIDE, (h, 8192), budget=10**10).bytes for h in (2048, 16384))
    assert small == large


@pytest.mark.parametrize("height", [1024, 1100, 4096])
@pytest.mark.parametrize("budget", [3 * 10**9, 12 * 10**8])
def test_a_stream_is_foreseen_to_hold_what_it_holds_at_its_end(height, budget):
    # Of strips as low as a band little goes in and out, which would hide what is forgotten.
    plan = planned(WIDE, (height, 4096), budget=budget, mode="stream", chunk=128)
    read = (height + -height % 16, plan.tiles.largest_read[1])
    held = WIDE.stream_bytes(read, band=plan.band)
    # Three times the activations, since kernels have buffers, and what every run takes.
    assert plan.bytes > 3 * held + 150e6


def test_a_volume_is_streamed_along_y():
    network = prepare_network(trained(volume, (2, 2, 6, 16, 16)))
    plan = planned(network, (64, 2048, 2048), budget=2 * 10**9)
    assert (plan.mode, plan.axis, plan.tiles.core[0]) == ("stream", 1, 64)


WORDS = {
    "stream": "8 strips of up to 512 x 4096 px, computed in bands of 128 rows, 1.00 x the pixels",
    "whole": "the whole image of 4096 x 4096 px at once, ",
    "halo": "16 tiles of up to 1024 x 1024 px, halo 23 px, 1.0",
}


@pytest.mark.parametrize(("mode", "words"), WORDS.items())
def test_a_plan_is_said_in_words(mode, words):
    said = planned(mode=mode).describe()
    assert said.startswith(words)
    assert said.endswith("of memory")


@pytest.mark.parametrize("mode", WORDS)
def test_a_plan_is_made_again_from_its_record(mode):
    plan = planned(mode=mode)
    assert recorded_plan(json.loads(json.dumps(plan.to_json())), (4096, 4096)) == plan


def test_a_record_of_another_kind_holds_no_plan():
    assert recorded_plan({"core_yx": [512, 512]}, (64, 64)) is None


REFUSED = {
    "no piece fits": ({"budget": 10**5}, r"Give it at least 0\.\d GB with --memory"),
    "no stream fits": ({"budget": 10**5, "mode": "stream"}, "at least .* with --memory"),
    "tiles too large": ({"budget": 10**7, "tile": 2048}, "Choose smaller ones with --tile"),
    "the whole does not fit": ({"budget": 10**7, "mode": "whole"}, "Use --mode auto, or give more"),
    "resampled rows": ({"streams": False, "mode": "stream"}, "Use --mode halo or auto"),
}


@pytest.mark.parametrize(("keywords", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_says_what_would(keywords, sentence):
    with pytest.raises(SettingsError, match=sentence):
        planned(**keywords)


def test_the_least_that_would_do_does():
    with pytest.raises(SettingsError) as caught:
        planned(WIDE, (8192, 8192), budget=10**5)
    least = float(str(caught.value).split("at least ")[1].split(" GB")[0])
    assert planned(WIDE, (8192, 8192), budget=round(least * 1e9)).bytes <= least * 1e9


def test_a_network_without_rules_for_rows_says_so():
    with pytest.raises(SettingsError, match="look further than rows"):
        planned(LINEAR, mode="stream")


def test_on_a_card_the_budget_is_of_the_cards_memory_and_the_hosts_is_counted_apart():
    here, card = (replace(WIDE, device=torch.device(name)) for name in ("cpu", "cuda"))
    plans = [
        plan_run(network, (8192, 8192), mode="halo", tile=2048, budget=10**11, out_channels=5)
        for network in (here, card)
    ]
    assert [plan.batch for plan in plans] == [1, 1]
    activations = card.forward_bytes(plans[1].tiles.largest_read)
    assert activations < plans[1].bytes < 2 * activations + 10**9
    # Two threads hold what they read and write, in float32 at most, whatever the card holds.
    host = host_bytes(plans[1], 5, 3)
    assert host >= 4 * (3 * 2240**2 + 5 * 2048**2)
    assert plans[0].bytes > plans[1].bytes
    # The largest tile for which there is room, without asking.
    small = plan_run(card, (8192, 8192), budget=4 * 10**9, out_channels=5)
    assert (small.mode, small.tiles.core) == ("halo", (1024, 1024))
    assert small.bytes <= 4 * 10**9
