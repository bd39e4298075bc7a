"""Lazy imports: packages, modules and single attributes that are imported or built at their first use."""

# In the namespace of every module that has lazy attributes: name -> the LazyAttributes that declared it.
REGISTRY = "__lazy_attributes__"
