"""Networks that take the noise from a picture: how one is built, taught and kept."""
