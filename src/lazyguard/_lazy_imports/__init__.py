"""Lazy imports: packages, modules and single attributes that are imported or built at their first use."""
