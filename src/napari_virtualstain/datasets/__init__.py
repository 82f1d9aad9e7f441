"""Images put to use: which planes go in, which stains are the truth, and how sets are split."""
