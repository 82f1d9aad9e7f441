"""A denoiser is asked for pixels that it is not shown."""

from __future__ import annotations

import numpy as np
import pytest

from napari_virtualstain.training.blind_spots import choose_spots, hide, stand_ins


def patch(seed=0, missing=True):
    pixels = np.random.default_rng(seed).normal(size=(30, 41)).astype(np.float32)
    if missing:
        pixels[:4, :9] = np.nan
    return pixels


def twin(pixels, rows, columns, pick, radius, replacement):
    hidden, found = set(zip(rows.tolist(), columns.tolist(), strict=True)), []
    for row, column, part in zip(rows, columns, pick, strict=True):
        near = [
            pixels[y, x]
            for y in range(max(0, row - radius), min(pixels.shape[0], row + radius + 1))
            for x in range(max(0, column - radius), min(pixels.shape[1], column + radius + 1))
            if (y, x) not in hidden and np.isfinite(pixels[y, x])
        ]
        chosen = np.median(near) if replacement == "median" else near[int(part * len(near))]
        found.append(chosen)
    return np.array(found, np.float32)


@pytest.mark.parametrize("replacement", ["neighbour", "median"])
def test_what_stands_in_is_what_loops_find(replacement):
    rng, pixels = np.random.default_rng(1), patch()
    rows, columns = choose_spots(pixels.shape, rng, spacing=6)
    pick = rng.random(len(rows))
    found = stand_ins(pixels, rows, columns, pick, radius=5, replacement=replacement)
    np.testing.assert_allclose(found, twin(pixels, rows, columns, pick, 5, replacement), rtol=1e-6)


@pytest.mark.parametrize("replacement", ["neighbour", "median"])
def test_nothing_that_is_shown_depends_on_what_is_asked_for(replacement):
    options = {"spacing": 4, "radius": 2, "replacement": replacement}
    pixels = patch()
    shown, asked = hide(pixels, np.random.default_rng(3), **options)
    hidden = np.isfinite(asked)
    assert hidden.sum() > 50
    again, other = hide(np.where(hidden, 1000, pixels), np.random.default_rng(3), **options)
    np.testing.assert_array_equal(again, shown)
    assert (other[hidden] == 1000).all()


def test_missing_pixels_are_neither_asked_for_nor_shown():
    shown, asked = hide(
        patch(), np.random.default_rng(0), spacing=2, radius=5, replacement="neighbour"
    )
    assert np.isnan(asked[:4, :9]).all()
    assert (shown[:4, :9] == 0).all()
    assert np.isfinite(shown).all()


def test_every_pixel_is_hidden_as_often():
    rng, counts = np.random.default_rng(0), np.zeros((11, 13))
    for _ in range(4000):
        np.add.at(counts, choose_spots((11, 13), rng, spacing=4), 1)
    np.testing.assert_allclose(counts / 4000, 1 / 16, atol=0.02)
