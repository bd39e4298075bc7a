"""The third of three."""

import zoo.ok_ring_first
