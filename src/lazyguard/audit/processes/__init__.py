"""The processes of an audit, as their parent sees them."""
