"""Services and guarded functions: what has policies around it."""
