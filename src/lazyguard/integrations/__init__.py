"""Integrations with other libraries, a short file for each; a file imports its own library only."""
