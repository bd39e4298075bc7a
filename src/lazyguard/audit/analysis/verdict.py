"""From what a child reported to a verdict: which one, which line is to blame, which imports led there.

Invariants: a verdict is the first of VERDICTS that applies. Blame goes to the line of a first-party module's body that
set it off, the innermost one of the importing thread's stack, with the innermost first-party line beside it; where
there is no stack, to the line that asked for the innermost module that was running. A chain begins at the target and
ends in the blamed module. Nothing is guessed: a line that is unknown is None.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lazyguard.audit.analysis import missing
from lazyguard.audit.analysis.import_order import circular_findings, submodule_findings
from lazyguard.audit.analysis.import_tree import BODY, Effect, Frame, build, read_dumps, stack
from lazyguard.audit.analysis.side_effects import findings, forbidden, signal_name, state_findings
from lazyguard.audit.processes.child_process import LEAVING_LIMIT
from lazyguard.audit.report.modules import Blame, Failure, ModuleReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazyguard.audit.analysis.import_tree import Dump, ImportTree, Scope, Span
    from lazyguard.audit.processes.child_process import Trace
    from lazyguard.audit.report.budget import Budget

OUTPUT_SHOWN = 2000
LOADED = "already loaded when its import began, by the setup or at the interpreter's start: nothing was measured"
# The part of its time from which an import that was ended counts as busy.
BUSY = 0.5


def judge(trace: Trace, scope: Scope, *, timeout: float, slow: float, budget: Budget | None = None) -> ModuleReport:
    """Return the report on one module; what its budget forbids is a finding."""
    result = trace.result
    seconds = float(result[1]) if result else min(timeout, trace.waited_seconds)
    started = trace.started or 0.0
    events = [each for each in trace.events if each[1] >= started]  # what comes before is the setup's
    tree = build(trace.module, events, scope, main=trace.thread, now=started + seconds)
    dumps = read_dumps(trace.dump, trace.thread)
    verdict, blame, error, detail = _judgement(trace, tree, scope, dumps, timeout=timeout, slow=slow)
    return ModuleReport(
        module=trace.module,
        verdict=verdict,
        seconds=seconds,
        queued_seconds=min(seconds, max(0.0, float(result[3]))) if result else 0.0,
        own_seconds=tree.own_seconds(trace.module),
        memory=trace.memory,
        third_party_seconds=tree.third_party_seconds(),
        blame=blame,
        error=error,
        findings=(
            *findings(tree, scope),
            *state_findings(tree, scope),
            *circular_findings(tree, scope, error),
            *submodule_findings(tree, scope),
            *forbidden(tree, scope, budget),
        ),
        detail=detail,
        output=trace.output[-OUTPUT_SHOWN:] or None if verdict != "ok" else None,
        imports=tree.executed(scope, started),
        executed=len({span.name for span in tree.importing()}),
    )


Judgement = tuple[str, Blame | None, Failure | None, str | None]


def _judgement(
    trace: Trace, tree: ImportTree, scope: Scope, dumps: Sequence[Dump], *, timeout: float, slow: float
) -> Judgement:
    result = trace.result
    if result is None:
        return _without_result(trace, tree, scope, dumps, timeout)
    busy = max(0.0, result[1] - max(0.0, result[3]))  # load is no cost of an import
    if busy > timeout:
        return "hangs", _stack_blame(tree, scope, dumps[-1:]), None, f"came back after {result[1]:.3g} s"
    if result[2] is not None:
        return _from_exception(tree, scope, result[2])
    if not trace.left:
        return _cannot_exit(trace, tree, scope)
    if trace.survivors:
        names = ", ".join(sorted(set(trace.survivors.values())))
        count = len(trace.survivors)
        detail = f"{count} {'process' if count == 1 else 'processes'} outlived it: {names}"
        return "leaves-children", _effect_blame(tree, scope, "subprocess"), None, detail
    if busy > slow:
        return "slow", _slowest_line(tree, scope, dumps), None, None
    return "ok", None, None, LOADED if trace.loaded else None


def _without_result(trace: Trace, tree: ImportTree, scope: Scope, dumps: Sequence[Dump], timeout: float) -> Judgement:
    if trace.replaced:
        program = tree.effects[-1].detail if tree.effects else "another program"
        error = Failure("os.exec", f"the process was replaced by {program}")
        return "exits", _effect_blame(tree, scope, "exec"), error, None
    status = trace.status
    if status is None:
        if trace.started is None:
            return "hangs", None, None, "the import was not reached: look at the setup, at sitecustomize and .pth files"
        busy = f"it computed for {trace.cpu_seconds:.2g} s: with a longer time limit it may be slow only"
        detail = busy if trace.cpu_seconds >= BUSY * trace.waited_seconds else None
        return "hangs", _stack_blame(tree, scope, dumps[-1:]), None, detail
    fatal = [dump for dump in dumps if dump.reason.startswith("Fatal")]
    if status < 0 or fatal:
        name = signal_name(-status) if status < 0 else f"status {status}"
        blame = _stack_blame(tree, scope, fatal[-1:]) if fatal else _effect_blame(tree, scope, "kill")
        reason = fatal[-1].reason.removeprefix("Fatal Python error: ") if fatal else "ended by this signal"
        return "crashes", blame, Failure(name, reason), None
    if trace.started is None:
        detail = "the interpreter ended before the import: look at sitecustomize and .pth files"
        return "exits", None, Failure("exit", f"status {status}"), detail
    blame = _effect_blame(tree, scope, "exit")
    kind = "os._exit" if any(effect.kind == "exit" for effect in tree.effects) else "exit"
    return "exits", blame, Failure(kind, f"status {status}"), None


def _from_exception(tree: ImportTree, scope: Scope, problem: list[Any]) -> Judgement:
    name, message, leaves, raw, about, missed = problem
    frames = [Frame(file, line, function) for file, line, function in raw][::-1]
    asked = name == "EOFError" and any(effect.kind == "input" for effect in tree.effects)
    detail = "it reads from the terminal while it is imported" if asked else None
    verdict = "exits" if leaves or asked else missing.verdict(name, message, missed, tree, scope)
    if verdict == "not-installed":
        detail = f"needs {missed}"
    error = Failure(name, message, missing.hint(name, message, about, tree, scope))
    return verdict, _frames_blame(tree, scope, frames, from_stack=True), error, detail


def _cannot_exit(trace: Trace, tree: ImportTree, scope: Scope) -> Judgement:
    if trace.stage == "threads" and trace.threads:
        names = ", ".join(str(thread[0]) for thread in trace.threads)
        name, near, near_line, site, site_line = trace.threads[0]
        leaf, wanted = Frame(near, near_line, "") if near else None, Frame(site, site_line, "") if site else None
        started = [each for each in tree.effects if each.kind == "thread" and each.detail == name and each.site]
        known = replace(started[-1], leaf=leaf) if started else Effect("thread", name, leaf, wanted, None, None)
        blame = _frames_blame(tree, scope, known.stack, span=known.span)
        return "cannot-exit", blame, None, f"non-daemon threads keep the process: {names}"
    last = read_dumps(trace.leaving_dump, trace.thread)[-1:]
    return "cannot-exit", _stack_blame(tree, scope, last), None, f"an exit function takes over {LEAVING_LIMIT:g} s"


def _effect_blame(tree: ImportTree, scope: Scope, kind: str) -> Blame | None:
    """Return blame for the last effect of a kind; without one, for the module that was running."""
    for effect in tree.effects[::-1]:
        if effect.kind == kind and effect.site is not None:
            return _frames_blame(tree, scope, effect.stack, span=effect.span)
    return _running_blame(tree, scope)


def _stack_blame(tree: ImportTree, scope: Scope, dumps: Sequence[Dump]) -> Blame | None:
    """Return blame for the stack of a dump. faulthandler stops at 100 frames: the stream has what lies above."""
    if dumps and scope.innermost(dumps[0].frames):
        return _frames_blame(tree, scope, dumps[0].frames, span=tree.open)
    blame = _running_blame(tree, scope)
    if blame is not None and dumps and dumps[0].frames:
        return replace(blame, leaf=scope.at(dumps[0].frames[0]))
    return blame


def _running_blame(tree: ImportTree, scope: Scope) -> Blame | None:
    """Return blame for the line that asked for the foreign module that runs, else for the module that runs."""
    lineage = tree.open.lineage() if tree.open else []
    own = [span for span in lineage if span.first_party]
    if not own:
        return None
    below = lineage[lineage.index(own[-1]) + 1 :]
    if below and below[0].site is not None:
        return _frames_blame(tree, scope, stack(None, below[0].site, below[0].body), span=own[-1])
    return Blame(scope.name(own[-1].file or ""), None, None, tree.chain(own[-1]))


def _frames_blame(
    tree: ImportTree, scope: Scope, frames: Sequence[Frame], *, span: Span | None = None, from_stack: bool = False
) -> Blame | None:
    """Return blame for a stack with its innermost frame first: for the line of a module's body that set it off.

    Where a stack was cut off above a function, its innermost first-party line is all that is known. The chain comes
    from the span that ran, up to its last first-party module, or from the stack's own module bodies.
    """
    inner = scope.innermost(frames)
    if inner is None:
        return None
    blamed = scope.body(frames) or inner
    leaf = None if frames[0] is inner else scope.at(frames[0])
    last = filter(None, [tree.module_of(blamed.file)])
    if from_stack:
        above = frames[frames.index(blamed) :][::-1]
        found = [tree.module_of(frame.file) for frame in above if frame.function == BODY]
        chain = tree.chain(None, *filter(None, found), *last)
    else:
        own = [each for each in (span.lineage() if span is not None else ()) if each.first_party]
        # Up to the blamed module where it is being executed, else to the first-party module that called into it.
        ends = [each for each in own if each.file == blamed.file][-1:] or own[-1:]
        chain = tree.chain(ends[0] if ends else None, *last)
    within = None if inner is blamed else scope.at(inner)
    return Blame(scope.name(blamed.file), blamed.line, leaf, chain, within)


def _slowest_line(tree: ImportTree, scope: Scope, dumps: Sequence[Dump]) -> Blame | None:
    """Return blame for the line that takes most of the time of a slow import.

    Foreign modules are charged, with all below them, to the first-party line that asked for them; the rest of a body
    to the line of it that most samples were taken in or below.
    """
    bodies: Counter[int] = Counter()
    lines: Counter[Frame] = Counter()
    spans = tree.importing()
    for at, span in enumerate(spans):
        if span.first_party:
            bodies[at] += int(span.own_seconds(tree.now) * 1e9)
        elif span.site is not None and (span.parent is None or span.parent.first_party):
            lines[span.body or span.site] += int(span.seconds(tree.now) * 1e9)
    body, cost = bodies.most_common(1)[0] if bodies else (0, -1)
    if lines and lines.most_common(1)[0][1] >= cost:
        line, _ = lines.most_common(1)[0]
        asked = [each for each in spans if each.site is not None and (each.body or each.site) == line]
        heaviest = max(asked, key=lambda each: each.seconds(tree.now))
        leaf = Frame(heaviest.file, None, "") if heaviest.file else None
        return _frames_blame(tree, scope, stack(leaf, heaviest.site, heaviest.body), span=heaviest.parent)
    if cost < 0:
        return None
    slow = spans[body]
    sampled = [(scope.body(dump.frames), scope.innermost(dump.frames), dump.frames) for dump in dumps]
    within = [each for each in sampled if each[0] is not None and each[0].file == slow.file]
    if not within:
        return Blame(scope.name(slow.file or ""), None, None, tree.chain(slow))
    often, _ = Counter(body for body, *_ in within).most_common(1)[0]
    (_, often_within), _ = Counter(each[:2] for each in within if each[0] == often).most_common(1)[0]
    frames = next(frames for body, inner, frames in within if (body, inner) == (often, often_within))
    return _frames_blame(tree, scope, frames, span=slow)
