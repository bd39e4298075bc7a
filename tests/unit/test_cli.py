"""The command's parser and its exit statuses, without a child process."""

from __future__ import annotations

import pytest

from lazyguard import __version__, cli
from lazyguard.cli import main


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--version"], 0, __version__),
        (["--help"], 0, "audit"),
        (["audit", "--help"], 0, "a parent's cost is not its children's"),
        ([], 2, "COMMAND"),
        (["audit", "core", "--jobs", "0"], 2, "jobs=0"),
        (["audit", "core", "--repeat", "-1"], 2, "repeat=-1"),
        (["audit", "core", "--slow", "nan"], 2, "slow=nan"),
        (["audit", "core", "--color", "sometimes"], 2, "invalid choice"),
        (["nosuch"], 2, "invalid choice"),
    ],
)
def test_main_returns_a_status_and_says_why(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`main` never raises for bad arguments."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert said in (err if status else out)


def test_without_arguments_the_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments the command shows what there is and where to begin."""
    assert main([]) == 2
    told = capsys.readouterr().err
    assert "report" in told
    assert "lazyguard audit core" in told


def test_an_interruption_before_the_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the status of any other, and no traceback."""

    def interrupted(**_: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parser", interrupted)
    assert main(["audit", "core"]) == 130
