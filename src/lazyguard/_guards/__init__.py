"""What stands around an import or a registration; each guard in a module of its own, loaded at first need."""
