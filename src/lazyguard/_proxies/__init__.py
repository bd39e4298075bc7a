"""Proxies: transparent objects that show what a cell holds."""
