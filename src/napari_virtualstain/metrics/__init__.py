"""How alike two pictures are: pure functions of arrays."""
