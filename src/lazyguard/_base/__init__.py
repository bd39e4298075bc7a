"""What everything else stands on: places, signatures, checks of options, fallbacks for `typing`."""
