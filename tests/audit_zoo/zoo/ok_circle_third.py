"""The third of three."""

import zoo.ok_circle_first
