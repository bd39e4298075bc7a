"""lazyguard in public programs that nobody here wrote: `python -m tests.field`, not a part of the suite."""
