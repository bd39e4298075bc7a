"""What everything else stands on: places, signatures, checks of options, stand-ins for `typing`."""
