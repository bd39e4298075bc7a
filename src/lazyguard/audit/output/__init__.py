"""A report in the formats that it is shown and written in."""
