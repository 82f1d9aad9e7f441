"""Which files of microscope makers can be read: one module a format.

Each is imported when a file of its kind is opened, and imports its library, an
extra of this package, no earlier than that. LSM of Zeiss is a TIFF, see
`napari_virtualstain.io.lsm`.
"""
