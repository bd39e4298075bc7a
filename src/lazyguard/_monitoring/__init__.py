"""What there is to see: health, metrics, imports, stacks. Looks at the layers below and changes nothing."""
