"""Thin integrations, one short file each; each imports its own library only."""
