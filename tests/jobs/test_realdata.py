"""Files as real microscopes wrote them are stained in their own axes, scale and place."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_virtualstain.io.open import open_image
from napari_virtualstain.io.record import read_record
from napari_virtualstain.jobs import evaluate, stain

pytestmark = pytest.mark.realdata

PHENIX_UM, ARCADIA_UM = 0.5979760809567617, 0.323390342594048
# Where, what must be said, shape (T, Y, X), pixel size in µm, channel taken, words of a note.
SAMPLES = {
    "phenix": ("phenix/Version5", {"z": (0, 0, 0)}, (1, 1080, 1080), PHENIX_UM, "Brightfield high", "taken as the Brightfield"),
    "isl_neurons": ("isl_neurons", {"z": (3, 6, 9)}, (1, 1024, 1024), None, "PHASE_CONTRAST", "Scene 'PHASE_CONTRAST' was taken"),
    "ome-zarr 0.5 by ngff-zarr": ("formats/ome_zarr/isl_phase_ngffzarr_v0.5.ome.zarr", {"z": (3, 6, 9), "pixel_size": 0.6}, (1, 512, 512), 0.6, None, "pixel size is not known"),
    "ome-zarr 0.4 plate by iohub": ("formats/ome_zarr/phenix_V5_iohub_HCS.zarr", {"z": (0, 0, 0)}, (1, 512, 512), None, "Brightfield high", "does not state its pixel size"),
    "ome-tiff, resampled": ("formats/ome_tiff/arcadia_pbmc_multichannel_by_nd2.ome.tif", {"z": (0, 0, 0), "resample": True}, (1, 256, 256), ARCADIA_UM, "Mono", "taken as the Brightfield"),
    "yeast time-lapse": ("yeast_timelapse/SL_180519_2_GR", {"z": (0, 0, 0), "channel": "c1"}, (5, 1080, 1280), None, "c1", "number the channels"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told", "shape", "pixel_um", "channel", "note"), SAMPLES.values(), ids=SAMPLES
)
def test_a_real_file_is_stained(
    given, told, shape, pixel_um, channel, note, realdata, tiny_model, tmp_path
):
    pytest.importorskip("imagecodecs")
    began = time.monotonic()
    notes = []
    settings = stain.StainSettings(
        input=str(realdata / given), model=str(tiny_model), out=str(tmp_path / "o.ome.zarr"),
        tile=512, device="cpu", **told,
    )  # fmt: skip
    result = stain.run(settings, on_note=notes.append)
    stained = open_image(result.out)
    assert stained.shape == (shape[0], 5, 1, *shape[1:])
    assert stained.axes == "tczyx"
    assert stained.channel_names == ("DNA", "ER", "RNA", "AGP", "Mito")
    size = stained.pixel_size_um
    assert size.z is None
    assert (size.y, size.x) == (pixel_um, pixel_um)
    source = open_image(settings.input)
    assert stained.origin_um[1:] == source.origin_um[1:]
    assert stained.time_interval_s == source.time_interval_s
    assert any(note in told for told in notes)
    record = read_record(result.out)
    assert record["status"] == "complete"
    assert record["record"]["input"]["shape_tczyx"] == list(source.shape)
    if channel is not None:
        assert record["record"]["input"]["channel"] == channel
    for t in range(shape[0]):
        pixels = stained.data[t].compute()
        assert np.isfinite(pixels).all()
        assert (pixels.std(axis=(1, 2, 3)) > 0).all()
    assert time.monotonic() - began < 60  # about 3 s on an idle core


def test_two_tile_sizes_agree_on_a_real_image(realdata, tiny_model, tmp_path):
    stained = []
    for tile in (96, 1024):
        settings = stain.StainSettings(
            input=str(realdata / "formats/ome_zarr/isl_phase_ngffzarr_v0.5.ome.zarr"),
            model=str(tiny_model), out=str(tmp_path / f"{tile}.ome.zarr"), z=(3, 6, 9), tile=tile,
            device="cpu",
        )  # fmt: skip
        stained.append(open_image(stain.run(settings).out).data.compute())
    np.testing.assert_allclose(*stained, rtol=1e-4, atol=0.05)


def test_a_stain_of_a_real_field_is_compared_with_its_own_fluorescence(
    realdata, tiny_model, tmp_path
):
    pytest.importorskip("imagecodecs")
    given, out = str(realdata / "phenix" / "Version5"), str(tmp_path / "o.ome.zarr")
    stain.run(stain.StainSettings(input=given, model=str(tiny_model), out=out, z=(0, 0, 0)))
    settings = evaluate.EvaluateSettings(prediction=out, target=given, match=("RNA=488 650",))
    (score,) = evaluate.run(settings).scores
    assert (score.stain, score.target, score.missing) == ("RNA", "488 650", 0)
    # The same plane three times is still a floor, and one that the run's channel gives.
    assert 0 < score.floor_pcc < 1
