"""What the report of a child means: the verdict, the line to blame, and the findings."""
