"""What an audit found, as data."""
