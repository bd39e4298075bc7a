"""What closes what factories made: once, not while a block holds it, in no child of a fork."""

from __future__ import annotations

import pytest

from lazyguard._core import closing
from lazyguard._core.cell import Cell
from lazyguard._core.drive import resolved
from lazyguard._core.plan import Plan


@pytest.fixture
def closed():
    """Return the list of what was closed."""
    return []


@pytest.fixture
def cell(closed):
    """Return a cell that makes lists, and closes them into `closed`."""
    return Cell(list, name="c", place="p", plan=Plan(close=lambda target: closed.append(target), grace=5.0))


def test_a_hold_puts_off_the_closing(cell, closed, limited, eventually):
    """While a block holds a target a reset leaves it open; the last block to end closes it, once."""
    target = resolved(cell)
    closing.hold(target)
    closing.hold(target)
    cell.reset()
    assert resolved(cell) is not target
    closing.let_go(target)
    cell.reset()
    assert len(closed) == 1
    assert closed[0] is not target
    closing.let_go(target)
    eventually(lambda: len(closed) == 2)
    assert closed[1] is target


def test_a_hold_alone_closes_nothing(cell, closed):
    """A target that is served when the block ends stays open."""
    target = resolved(cell)
    closing.hold(target)
    closing.let_go(target)
    assert resolved(cell) is target
    assert not closed
    cell.reset()
    assert closed == [[]]


def test_grace_that_ends_in_a_hold(cell, closed, clock, limited, eventually):
    """What falls due while it is held is closed when the block ends."""
    target = resolved(cell)
    closing.hold(target)
    cell.open(0, OSError())
    clock.advance(5.0)
    eventually(lambda: closing._held[id(target)][2])
    assert not closed
    closing.let_go(target)
    eventually(lambda: closed == [[]])
