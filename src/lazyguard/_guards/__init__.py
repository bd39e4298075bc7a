"""Guards around imports and registrations; each has a module of its own, which is loaded at first need."""
