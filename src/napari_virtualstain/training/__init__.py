"""How a generator learns: patches in, weights out, one loop for all."""
