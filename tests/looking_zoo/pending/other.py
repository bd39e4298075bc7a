"""A module that looking must not import."""

import pending

pending.build(__name__)
