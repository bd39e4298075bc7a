"""Services and guarded functions: cells and functions with policies."""
