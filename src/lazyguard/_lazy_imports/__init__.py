"""Names that are imported or built at their first use: packages, modules, single attributes."""
