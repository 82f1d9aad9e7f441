"""How a network is run over a picture of any size; the last room that knows torch."""
