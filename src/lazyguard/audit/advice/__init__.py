"""Advice: which imports of a program can be deferred, what that saves, measured, and why the others must stay."""
