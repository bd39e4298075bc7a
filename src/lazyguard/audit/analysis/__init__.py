"""From what a child reported to a verdict and findings."""
