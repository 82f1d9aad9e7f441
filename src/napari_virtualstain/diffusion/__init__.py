"""The mathematics of diffusion: how noise is added, and how it is taken away again.

No network, no tile and no file is known here. Tables are float64.
"""
