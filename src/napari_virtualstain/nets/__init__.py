"""Torch modules that know nothing of images, files or stains."""
