"""A hang that is three imports away."""
