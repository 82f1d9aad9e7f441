"""Nuclei and cells: where they are, and which of the predicted are the true ones."""
