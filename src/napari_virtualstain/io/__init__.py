"""Pictures in and out: files become a `LazyImage`, results become OME-Zarr.

Nothing is imported here, so that ``import napari_virtualstain.io.open`` costs
neither tifffile nor zarr.
"""
