"""Mutation testing: what the tests of a module do not notice when it is changed. See docs/explanation/mutants.md."""
