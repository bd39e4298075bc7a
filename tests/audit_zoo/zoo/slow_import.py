"""Takes long in what it imports: a foreign module, beside the zoo."""

import heavy

__all__ = ["heavy"]
