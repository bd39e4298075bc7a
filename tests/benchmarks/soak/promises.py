"""What a soak holds lazyguard to, judged from what `seen` has written: `judge`.

1. **Answers.** Each request has one, whatever fails. It is a 2xx while all servers have been well for `recovery`, but
   where the machine (as below) took half of its deadline.
2. **Time.** No request takes longer than its deadline + 50 ms, by its client's clock. What the client itself was late
   and what the worker's threads waited for a processor meanwhile are taken off: they are the machine's. The workers
   import and connect at their first requests, so it counts from `WARM` on.
3. **Recovery.** Nothing that `lazyguard.health` tells is other than "pass" once the servers that it needs have been
   well for `recovery`: what the example's options say (the longest wait, and a try that began before), and `LATE`.
4. **Flat.** For each worker, of memory, threads and descriptors: the median of the last quarter of the failures exceeds
   that of the second (or of the calm before, if that is more) by no more than `SLACK`: a share and a number. Medians,
   because outages come and go; the second quarter, because in the first one what fails for the first time is imported.
   Between the calm before and the calm after, threads and descriptors grow by no more than `POOLED`: what pools keep.
5. **Nothing lost.** The workers of the begin are those of the end, and `lazyguard.health` never raises.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.benchmarks.soak.examples import KINDS, WORKERS
from tests.benchmarks.soak.faults import Fault
from tests.benchmarks.soak.seen import CALM, DEADLINE

GRACE, WARM, LATE = 0.05, -CALM / 2, 1.5  # notes are a second apart
SLACK = {"rss": (0.03, 2 << 20), "threads": (0.0, 2), "descriptors": (0.0, 6)}
POOLED = {"threads": 4, "descriptors": 16}


def median(values: Iterable[float]) -> float:
    """Return the median; 0 of nothing."""
    found = sorted(values)
    return found[len(found) // 2] if found else 0.0


class Judged:
    """The figures of a run, and the promises that it broke, one sentence each."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run, self.name = run, run["example"]
        self.faults = [Fault(*fault) for fault in run["faults"]]
        self.figures: dict[str, Any] = {}
        self.broken: list[str] = []
        for judge in (self._answers, self._time, self._recovery, self._flat, self._lost):
            judge()
        self.figures["broken"] = len(self.broken)

    def well_since(self, at: float, servers: tuple[str, ...]) -> float | None:
        """Return since when these servers are well at that time; None while one is not."""
        since = float("-inf")
        for fault in self.faults:
            if fault.server in servers and fault.begin <= at:
                if at < fault.end:
                    return None
                since = max(since, fault.end)
        return since

    def _answers(self) -> None:
        kind = KINDS[self.name]
        requests = self.run["requests"]
        statuses = Counter(status for _, _, status, *_ in requests)
        well = [one for one in requests if one[0] >= WARM and self._is_well(one[0], one[0] + one[1], kind.needed)]
        failed = [one for one in well if one[2][0] != "2" and one[6] + one[7] < DEADLINE / 2]
        unanswered = sum(count for status, count in statuses.items() if not re.fullmatch(r"\d{3}", status))
        self.figures |= {
            "requests": len(requests), "statuses": dict(sorted(statuses.items())), "unanswered": unanswered,
            "while_well": len(well), "failed_while_well": len(failed),
            "faults": dict(Counter(fault.mode for fault in self.faults)),
        }  # fmt: skip
        if unanswered:
            self.broken.append(f"{unanswered} requests have no answer: {dict(statuses)}")
        if failed:
            at, _, status, path, *_ = failed[0]
            self.broken.append(f"{len(failed)} requests failed while all was well; {path} with {status} at {at:.1f} s")

    def _is_well(self, begin: float, end: float, servers: tuple[str, ...]) -> bool:
        since = self.well_since(end, servers)
        return since is not None and since + self.run["recovery"] <= begin

    def _time(self) -> None:
        limit = DEADLINE + GRACE
        warm = [one for one in self.run["requests"] if one[0] >= WARM]
        long = [one for one in warm if one[1] > limit]
        ours = [one for one in long if one[1] - one[6] - one[7] > limit]
        took = sorted(one[1] for one in warm) or [0.0]
        self.figures |= {
            "median": median(took), "p99": took[int(0.99 * (len(took) - 1))], "longest": took[-1],
            "longest_less_the_machine": max((min(one[1], one[1] - one[6] - one[7]) for one in warm), default=0.0),
            "beyond": len(long), "beyond_less_the_machine": len(ours),
        }  # fmt: skip
        if ours:
            at, seconds, status, path, worker, own, late, waits = max(ours, key=lambda one: one[1] - one[6] - one[7])
            what = f"{path} ({status}) at {at:.1f} s took {seconds:.3f} s, {own:.3f} s of them in worker {worker}"
            less = f"the client was {late:.3f} s late, the worker waited {waits:.3f} s"
            self.broken.append(f"{len(ours)} requests took longer than {limit:g} s: {what}; {less}")

    def _recovery(self) -> None:
        longest, raised = (0.0, "nothing"), []
        for worker, notes in self.run["notes"].items():
            begun: dict[str, float] = {}  # since when each is not well
            for note in notes:
                raised += [note["error"]] if "error" in note else []
                for check in note.get("checks", ()):
                    stayed = self._stayed(note["at"], check, begun)
                    if stayed > longest[0]:
                        what = f"{check['name']} in worker {worker} at {note['at']:.0f} s: {check['state']}"
                        longest = (stayed, f"{what}, {check['cause']}")
            last = notes[-1] if notes else {"status": "without a note"}
            if last.get("status") != "pass":
                wrong = [check for check in last.get("checks", ()) if check["status"] != "pass"]
                self.broken.append(f"worker {worker} does not end well: {wrong or last}")
        bound = self.run["recovery"] + LATE
        self.figures |= {"degraded_after_return": longest[0], "bound": bound, "health_raised": len(raised)}
        if longest[0] > bound:
            self.broken.append(f"degraded {longest[0]:.1f} s after its servers' return: {longest[1]}")
        if raised:
            self.broken.append(f"lazyguard.health raised {len(raised)} times: {raised[0]}")

    def _stayed(self, at: float, check: dict[str, Any], begun: dict[str, float]) -> float:
        """Return for how long a thing has not been well although its servers are."""
        name, kind = check["name"], KINDS[self.name]
        if check["status"] == "pass" or at < WARM:
            begun.pop(name, None)
            return 0.0
        since = self.well_since(at, kind.needs.get(name, kind.needed))
        begin = begun.setdefault(name, at)
        return 0.0 if since is None else at - max(since, begin)

    def _flat(self) -> None:
        seconds, grown = self.run["seconds"], {}
        for pid in sorted({sample["pid"] for sample in self.run["samples"]}):
            mine = [sample for sample in self.run["samples"] if sample["pid"] == pid and "rss" in sample]

            def of(what: str, begin: float, end: float, mine: list[Any] = mine) -> float:
                return median(sample[what] for sample in mine if begin <= sample["at"] < end)

            for what, (share, number) in SLACK.items():
                second, last = of(what, seconds / 4, seconds / 2), of(what, seconds * 3 / 4, seconds)
                before, after = of(what, WARM, 0.0), of(what, self.run["end"] - CALM / 2, self.run["end"])
                grown.setdefault(what, []).append([before, second, last, after])
                if last > max(before, second) * (1 + share) + number:
                    self.broken.append(
                        f"{what} of worker {pid} grow: {second:g} in the second quarter, {last:g} in the last"
                    )
                if what in POOLED and after > before + POOLED[what]:
                    self.broken.append(f"{what} of worker {pid} stay: {before:g} before the failures, {after:g} after")
        # of the worker that grew most
        self.figures |= {what: max(found, key=lambda one: one[2] - one[1]) for what, found in grown.items()}

    def _lost(self) -> None:
        begin = {one[4] for one in self.run["requests"] if one[0] < 0.0} - {0}
        end = {one[4] for one in self.run["requests"] if one[0] > self.run["seconds"]} - {0}
        self.figures["workers"] = len(begin)
        if begin != end or len(begin) != WORKERS:
            self.broken.append(f"the workers were {sorted(begin)}, and are {sorted(end)}: {self.run['log'][-2000:]}")
