"""Health, metrics, tracked imports and stacks: they read the layers below, and change nothing there."""
