"""What somebody has painted over is missing, and so weighs nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_virtualstain.datasets.excluded import leave_out
from napari_virtualstain.errors import PixelDataError
from napari_virtualstain.io.open import open_image


@pytest.fixture
def stains(tmp_path):
    pixels = np.arange(2 * 8 * 6, dtype=np.uint16).reshape(2, 8, 6)
    tifffile.imwrite(tmp_path / "stains.tif", pixels, metadata={"axes": "CYX"})
    return open_image(tmp_path / "stains.tif", axes="cyx")


def painted(folder, mask):
    tifffile.imwrite(folder / "mask.tif", mask.astype(np.uint8), metadata={"axes": "YX"})
    return str(folder / "mask.tif")


def test_painted_pixels_are_missing_in_every_stain_and_the_others_stay(stains, tmp_path):
    mask = np.zeros((8, 6), int)
    mask[2:4, 1:5] = 3  # any label
    before = stains.data.compute()
    after = leave_out(stains, painted(tmp_path, mask)).data.compute()
    assert np.isnan(after[:, :, :, mask > 0]).all()
    np.testing.assert_array_equal(after[:, :, :, mask == 0], before[:, :, :, mask == 0])
    assert after.dtype.kind == "f"


WRONG = {
    "another size": (np.ones((4, 6)), "leaves out parts of 4 x 6 px, and the stains are 8 x 6 px"),
    "everything": (np.ones((8, 6)), "leaves out the whole field"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_left_out_is_one_sentence(stains, tmp_path, case):
    mask, sentence = WRONG[case]
    with pytest.raises(PixelDataError, match=sentence):
        leave_out(stains, painted(tmp_path, mask))
