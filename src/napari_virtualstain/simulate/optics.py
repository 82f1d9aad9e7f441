"""What a microscope shows of a volume, with transmitted and with emitted light.

Bright field is computed by partially coherent imaging: one plane wave for each
point of the condenser aperture is sent through the refractive-index volume
slice by slice (beam propagation), cut by the objective pupil, refocused, and
the *intensities* are added (Abbe).  Fluorescence is incoherent: each slice of
emitters is convolved with the point-spread function of its distance from focus.

References
----------
.. [1] Van Roey, van der Donk, Lagasse, "Beam-propagation method: analysis and
   assessment", J. Opt. Soc. Am. 71, 803 (1981), doi:10.1364/JOSA.71.000803.
.. [2] Hopkins, "On the diffraction theory of optical images", Proc. R. Soc. A
   217, 408 (1953), doi:10.1098/rspa.1953.0071 (the source-point sum goes back
   to Abbe).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["MEDIUM_INDEX", "bright_field", "fluorescence", "point_spread", "source_points"]

MEDIUM_INDEX = 1.337  # culture medium
FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]


def source_points(
    condenser_na: float, *, tilt_na: tuple[float, float] = (0.0, 0.0), count: int = 10
) -> NDArray[np.float64]:
    """Return points (N, 2) that fill a round condenser aperture evenly.

    Parameters
    ----------
    condenser_na : float
        Radius of the aperture in units of numerical aperture.
    tilt_na : tuple of float
        Centre (y, x) of the aperture; the meniscus of a well tilts the light.
    count : int
        Number of points, laid on a Fermat spiral.
    """
    k = np.arange(count)
    radius = condenser_na * np.sqrt((k + 0.5) / count)
    angle = k * np.pi * (3.0 - np.sqrt(5.0))
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1)
    return np.asarray(points + np.asarray(tilt_na), np.float64)


def _frequencies(
    shape: tuple[int, int], pixel_um: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    fy = fft.fftfreq(shape[0], pixel_um[0])[:, None]
    fx = fft.fftfreq(shape[1], pixel_um[1])[None, :]
    return np.asarray(fy), np.asarray(fx)


def _propagator(
    fy: NDArray[np.float64], fx: NDArray[np.float64], distance_um: float, wavelength_um: float
) -> ComplexArray:
    """Return the transfer function of free space over a distance in medium.

    The common phase of the undeviated wave is left out; waves that would not
    propagate are dropped.
    """
    k0 = MEDIUM_INDEX / wavelength_um
    square = k0 * k0 - fy * fy - fx * fx
    phase = 2.0 * np.pi * distance_um * (np.sqrt(np.maximum(square, 0.0)) - k0)
    return np.asarray(np.exp(1j * phase) * (square > 0), np.complex64)


def bright_field(
    index: FloatArray,
    *,
    slice_um: float,
    pixel_um: tuple[float, float],
    focus_um: Sequence[float],
    wavelength_um: float = 0.55,
    objective_na: float = 0.45,
    condenser_na: float = 0.25,
    tilt_na: tuple[float, float] = (0.0, 0.0),
    sources: int = 10,
    screen: NDArray[np.complexfloating] | None = None,
    screen_um: float = 12.0,
) -> FloatArray:
    """Return the bright-field intensity at each focus, 1 being the bare light.

    Parameters
    ----------
    index : ndarray (Z, Y, X)
        Refractive index *minus that of the medium* (1.337), lowest slice first;
        light enters at the first slice.
    slice_um : float
        Thickness of a slice in micrometres.
    pixel_um : tuple of float
        Pixel size (y, x) in micrometres.
    focus_um : sequence of float
        Height of each imaged plane above the bottom of the first slice.
    wavelength_um : float
        Vacuum wavelength of the lamp behind its filter.
    objective_na, condenser_na : float
        Numerical apertures.
    tilt_na : tuple of float
        Centre (y, x) of the condenser aperture.
    sources : int
        Points of the condenser aperture.
    screen : ndarray (Y, X), optional
        Complex transmission of a dusty surface below the sample.
    screen_um : float
        Distance from that surface to the first slice in micrometres.

    Returns
    -------
    ndarray (len(focus_um), Y, X)
        The field wraps round at its edges: pad it.

    Notes
    -----
    Split-step propagation as in [1]_: in each slice the wave first picks up the
    phase 2 pi / wavelength x index x slice_um, then travels slice_um in medium.
    Scalar and forward only. The plane wave of each source point is moved to the
    nearest frequency of the grid, so that it is periodic.
    """
    nz, ny, nx = index.shape
    fy, fx = _frequencies((ny, nx), pixel_um)
    k = np.float32(2.0 * np.pi / wavelength_um * slice_um)
    phase = index * k
    kick = np.empty(index.shape, np.complex64)
    np.cos(phase, out=kick.real)
    np.sin(phase, out=kick.imag)
    del phase
    step = _propagator(fy, fx, slice_um, wavelength_um)
    entry = _propagator(fy, fx, screen_um, wavelength_um)
    pupil = fy * fy + fx * fx <= (objective_na / wavelength_um) ** 2
    top = nz * slice_um
    exits = [pupil * _propagator(fy, fx, z - top, wavelength_um) for z in focus_um]
    y, x = np.arange(ny)[:, None] / ny, np.arange(nx)[None, :] / nx
    points = source_points(condenser_na, tilt_na=tilt_na, count=sources) / wavelength_um
    cycles = np.rint(points * np.array([ny * pixel_um[0], nx * pixel_um[1]])).astype(int)
    out = np.zeros((len(exits), ny, nx), np.float32)
    for my, mx in cycles:
        wave_y = np.exp(2j * np.pi * my * y).astype(np.complex64)
        wave_x = np.exp(2j * np.pi * mx * x).astype(np.complex64)
        wave = wave_y * wave_x
        if screen is not None:
            wave = fft.ifft2(fft.fft2(wave * screen.astype(np.complex64)) * entry)
        for i in range(nz):
            spectrum = fft.fft2(wave * kick[i], overwrite_x=True)
            spectrum *= step
            if i < nz - 1:
                wave = fft.ifft2(spectrum, overwrite_x=True)
        for plane, leave in zip(out, exits, strict=True):
            image = fft.ifft2(spectrum * leave, overwrite_x=True)
            plane += image.real * image.real + image.imag * image.imag
    # A source point beyond the objective's aperture (dark field) adds no bare light.
    bare = np.hypot(cycles[:, 0] / (ny * pixel_um[0]), cycles[:, 1] / (nx * pixel_um[1]))
    out /= max(int((bare <= objective_na / wavelength_um).sum()), 1)
    return out


def point_spread(
    *,
    pixel_um: tuple[float, float],
    defocus_um: float,
    wavelength_um: float,
    na: float,
    size: int = 64,
) -> FloatArray:
    """Return a point-spread function (size, size) that sums to one.

    The point is at index ``(0, 0)`` and the image wraps round it, as
    `scipy.fft` expects.

    Parameters
    ----------
    pixel_um : tuple of float
        Pixel size (y, x) in micrometres.
    defocus_um : float
        Distance of the point from the focal plane, of either sign.
    wavelength_um : float
        Vacuum wavelength of the emission.
    na : float
        Numerical aperture.
    size : int
        Edge in px.
    """
    # Intensity has twice the band of the field: compute on half pixels, then bin.
    fine = (pixel_um[0] / 2, pixel_um[1] / 2)
    fy, fx = _frequencies((2 * size, 2 * size), fine)
    pupil = fy * fy + fx * fx <= (na / wavelength_um) ** 2
    field = fft.ifft2(pupil * _propagator(fy, fx, defocus_um, wavelength_um))
    power = np.roll(np.abs(field) ** 2, (1, 1), (0, 1))
    # Bins of three half pixels with the weights 1, 2, 1 are centred on the point.
    for axis in (0, 1):
        power = np.roll(power, 1, axis) + 2.0 * power + np.roll(power, -1, axis)
    coarse = power[1::2, 1::2]
    return np.asarray(coarse / coarse.sum(), np.float32)


def fluorescence(
    emission: FloatArray,
    *,
    slice_um: float,
    pixel_um: tuple[float, float],
    focus_um: Sequence[float],
    wavelength_um: float,
    na: float = 0.45,
) -> FloatArray:
    """Return what a camera collects of emitters at each focus.

    Parameters
    ----------
    emission : ndarray (Z, Y, X)
        Light emitted by each voxel, any unit.
    slice_um : float
        Thickness of a slice in micrometres.
    pixel_um : tuple of float
        Pixel size (y, x) in micrometres.
    focus_um : sequence of float
        Height of each imaged plane above the bottom of the first slice.
    wavelength_um : float
        Vacuum wavelength of the emission.
    na : float
        Numerical aperture of the objective.

    Returns
    -------
    ndarray (len(focus_um), Y, X)
        In the unit of `emission`; the sum over pixels of each plane is the sum
        over the volume, because a wide-field microscope loses no light on the
        way out of focus.
    """
    nz, ny, nx = emission.shape
    size = 64
    while size > min(ny, nx):
        size //= 2
    spectra = [fft.rfft2(plane) for plane in emission]
    heights = (np.arange(nz) + 0.5) * slice_um
    transfer: dict[float, NDArray[np.complex64]] = {}
    out = np.empty((len(focus_um), ny, nx), np.float32)
    rows = np.r_[0 : size // 2, ny - size // 2 : ny]
    columns = np.r_[0 : size // 2, nx - size // 2 : nx]
    for i, focus in enumerate(focus_um):
        total = np.zeros((ny, nx // 2 + 1), np.complex64)
        for height, spectrum in zip(heights, spectra, strict=True):
            away = round(abs(float(height) - focus), 6)
            if away not in transfer:
                spread = np.zeros((ny, nx), np.float32)
                spread[np.ix_(rows, columns)] = point_spread(
                    pixel_um=pixel_um,
                    defocus_um=away,
                    wavelength_um=wavelength_um,
                    na=na,
                    size=size,
                )
                transfer[away] = fft.rfft2(spread)
            total += spectrum * transfer[away]
        out[i] = fft.irfft2(total, s=(ny, nx))
    return np.maximum(out, 0.0)
