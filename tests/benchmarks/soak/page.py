"""The section of docs/benchmarks.md, made of the figures of `promises`, and a plot of each example."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.load import draw
from tests.benchmarks.soak.examples import KINDS, THREADS, WORKERS
from tests.benchmarks.soak.promises import GRACE, Judged
from tests.benchmarks.soak.seen import CALM, CONNECTIONS, DEADLINE, PACE

COLOURS = {
    "stopped": "#c0392b", "silent": "#d68910", "killed": "#7d3c98", "flapping": "#2471a3",
    "resetting": "#117a65", "babbling": "#909497",
}  # fmt: skip
POINTS = 150  # of a line of a plot


def section(judged: list[Judged]) -> list[str]:
    """Return the lines of the page: all runs, which had the same length, seed and severity."""
    run = judged[0].run
    names = sorted({name for one in judged for name in KINDS[one.name].packages})
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    of = f"the {'harsh ' if run['harsh'] else ''}schedule of seed {run['seed']}"
    lines = [
        "## The examples for a long time while their servers fail at random",
        "",
        f"CPython {platform.python_version()}, {os.cpu_count()} processors for all together; {versions}. Each example "
        f"has {WORKERS} workers, servers of its own and {CONNECTIONS} clients, each of which asks {1 / PACE:.0f} times "
        f"a second; gunicorn has {THREADS} threads a worker. The servers failed for {run['seconds'] / 60:g} minutes, "
        f"by {of}: stopped, silent, killed, stopped and well in turns; several at a time. Each request has {DEADLINE} "
        "s. Made by `make soak`, which fails where one of these is not so. How it judges is told in "
        "`tests/benchmarks/soak/promises.py`.",
        "",
        f"| | {' | '.join(one.name for one in judged)} | must be |",
        f"|---|{'---|' * len(judged)}---|",
    ]

    def row(title: str, cell: Any, goal: str = "") -> None:
        lines.append(f"| {title} | {' | '.join(cell(one.figures) for one in judged)} | {goal} |")

    def grown(what: str, unit: float = 1.0, digits: int = 0) -> Any:
        return lambda of: ", ".join(f"{one / unit:.{digits}f}" for one in of[what])

    row("faults", lambda of: ", ".join(f"{mode} {count}" for mode, count in sorted(of["faults"].items())))
    row("requests", lambda of: f"{of['requests']:,}")
    row("answered with", lambda of: ", ".join(f"{code} {count:,}" for code, count in of["statuses"].items()))
    row("without an answer", lambda of: f"{of['unanswered']}", "0")
    row("not 2xx while all servers are well", lambda of: f"{of['failed_while_well']} of {of['while_well']:,}", "0")
    row("median, 99 %, longest, ms", lambda of: ", ".join(f"{of[k] * 1000:.0f}" for k in ("median", "p99", "longest")))
    row(f"longer than {(DEADLINE + GRACE) * 1000:.0f} ms", lambda of: f"{of['beyond']}")
    row("the same, less what the machine was late", lambda of: f"{of['beyond_less_the_machine']}", "0")
    row(
        "longest that anything was degraded with its servers well, s",
        lambda of: f"{of['degraded_after_return']:.1f} of {of['bound']:g}",
        "in the bound",
    )
    row("memory of a worker, MB", grown("rss", 1e6, 1), "flat")
    row("its threads", grown("threads"), "flat")
    row("its descriptors", grown("descriptors"), "flat")
    row("promises broken", lambda of: str(of["broken"]), "0")
    lines += [
        "",
        "Memory, threads and descriptors are medians: before the failures, in their second quarter, in their last one, "
        "after them; of the worker that grew most.",
        "",
    ]
    for one in judged:
        lines += [f"![{one.name}: requests, memory, threads and descriptors over time](soak-{one.name}.svg)", ""]
    return lines[:-1]


def plot(judged: Judged, file: Path) -> None:
    """Draw a run: what failed when, what requests took, what the workers held."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "lazyguard", "svg.fonttype": "none"})
    run = judged.run
    figure, (faults, waits, memory) = pyplot.subplots(
        3, 1, figsize=(9, 5.2), sharex=True, height_ratios=(len(KINDS[judged.name].needed) * 0.22, 1.6, 1.2)
    )
    _draw_faults(faults, judged)
    width = (run["end"] + CALM) / POINTS
    times = [(at, took) for at, took, *_ in run["requests"]]
    draw(waits, times, DEADLINE, width, f"{width:.1f} s")
    waits.set(xlabel="", ylim=(1e-3, 4))
    waits.legend(loc="upper right", fontsize=7, ncols=3)
    beside = memory.twinx()
    for pid in sorted({sample["pid"] for sample in run["samples"]}):
        mine = [sample for sample in run["samples"] if sample["pid"] == pid and "rss" in sample]
        mine = mine[:: max(1, len(mine) // POINTS)]
        at = [round(sample["at"], 1) for sample in mine]
        memory.plot(at, [sample["rss"] / 1e6 for sample in mine], color="tab:blue", lw=1)
        beside.plot(at, [sample["threads"] for sample in mine], color="tab:green", lw=0.7)
        beside.plot(at, [sample["descriptors"] for sample in mine], color="tab:gray", lw=0.7)
    most = max((sample.get("rss", 0) for sample in run["samples"]), default=0) / 1e6
    memory.set(xlabel="seconds", ylim=(0, 1.2 * most), xlim=(-CALM, run["end"]))
    memory.set_ylabel("MB a worker", color="tab:blue")
    beside.set(ylim=(0, None))
    beside.set_ylabel("threads (green), descriptors", fontsize=8)
    figure.suptitle(judged.name, fontsize=10)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    # A tenth of a point is exact enough, and half of the file.
    file.write_text(re.sub(r"(\d\.\d)\d+", r"\1", file.read_text(encoding="utf-8")), encoding="utf-8")


def _draw_faults(axes: Any, judged: Judged) -> None:
    needed = KINDS[judged.name].needed
    for at, server in enumerate(needed):
        for mode, colour in COLOURS.items():
            mine = [one for one in judged.faults if (one.server, one.mode) == (server, mode)]
            axes.broken_barh([(one.begin, one.end - one.begin) for one in mine], (at - 0.4, 0.8), color=colour, lw=0)
    axes.set(yticks=range(len(needed)), yticklabels=needed, ylim=(len(needed) - 0.5, -0.5))
    used = sorted({fault.mode for fault in judged.faults})
    handles = [axes.barh(0, 0, color=COLOURS[mode]) for mode in used]
    axes.legend(
        handles, used, loc="lower right", bbox_to_anchor=(1, 1), fontsize=7, ncols=max(1, len(used)), frameon=False
    )
