"""What the peers' tests fail in is judged: each judgement names a heading that is there, and none can be overlooked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.peers import __main__ as peers
from tests.peers.judged import JUDGED, KINDS, Judgement
from tests.peers.table import PEERS

DOCS = Path(__file__).parents[2] / "docs"
ALL = [(name, each) for name, judgements in JUDGED.items() for each in judgements]


def headings(page: Path) -> set[str]:
    """Return the anchors of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(("name", "judgement"), ALL, ids=[f"{name}-{each.why[:30]}" for name, each in ALL])
def test_each_judgement_has_its_page(name, judgement):
    """Its kind is one of those that the page explains, and its page and the heading are there."""
    page, _, heading = judgement.page.partition("#")
    assert name in PEERS
    assert judgement.kind in KINDS
    assert not heading or heading in headings(DOCS / page)


def test_each_test_is_judged_once():
    """No two judgements of a peer are about the same test in the same form."""
    for name, judgements in JUDGED.items():
        about = [
            (test, form)
            for each in judgements
            for test in each.tests
            for form in PEERS[name].forms
            if each.is_about(test, form)
        ]
        assert len(about) == len(set(about))


@pytest.fixture
def told(monkeypatch):
    """Judge made-up outcomes by three judgements, one of which is of another Python."""
    made_up = (
        Judgement(kind="theirs", why="", page="", tests=("test_a", "test_b[1]")),
        Judgement(kind="limit", why="", page="", tests=("test_c",), forms=("hot",)),
        Judgement(kind="choice", why="", page="", tests=("test_c",), since=(3, 99)),
    )
    monkeypatch.setitem(JUDGED, "wrapt", made_up)
    return lambda **outcomes: peers.judge("wrapt", outcomes)


def test_what_nobody_judged_is_told(told):
    """A failure counts for its judgement; one of another parameter or form has none, and is told with its error."""
    ends = {
        "f.py::test_a[x]": "failed",
        "f.py::test_b[1]": "failed",
        "f.py::test_b[2]": "failed",
        "f.py::test_c": "failed",
    }
    outcomes = {test: (end, "error") for test, end in ends.items()}
    forms = told(hot=outcomes, module={**outcomes, "f.py::test_d": ("skipped", "")})["forms"]
    assert forms["hot"] == {
        "run": 4,
        "passed": 0,
        "failed": {"theirs": 2, "limit": 1, "choice": 0},
        "unjudged": {"f.py::test_b[2]": "error"},
    }
    assert forms["module"]["run"] == 4
    assert [*forms["module"]["unjudged"]] == ["f.py::test_b[2]", "f.py::test_c"]


def test_what_passes_again_is_told(told):
    """A judgement is told of where it was right and is not any more; not where its test was not run."""
    passed = {"f.py::test_a[x]": ("passed", ""), "f.py::test_c": ("passed", "")}
    assert told(hot=passed, module=passed)["passes"] == [("test_a", "hot"), ("test_a", "module"), ("test_c", "hot")]
    assert told(hot={"f.py::test_a[x]": ("failed", "")})["passes"] == []
