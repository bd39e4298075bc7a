"""Modules with one fault each: what the audit is tested on. A module's name says its verdict and its fault."""
