"""How a cell comes by its target: the logic of a caller and that of an attempt, as generators of effects.

Invariants: written once for threads and tasks; after every wait the cell is looked at again before anything is
raised; what user code does comes back as an Outcome, so nothing it raises is mistaken for our own.
"""

from __future__ import annotations

from lazyguard._core import DAEMONS, INTERRUPTIONS, clock, deadlines, loaded, mode, wait_cycles, whole
from lazyguard._core.effects import Call, Join, Sleep
from lazyguard._core.state import DEGRADED, FAILED, READY, Attempt, Outcome, Snapshot, owed
from lazyguard.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lazyguard._base import Any, Callable
    from lazyguard._core.cell import Cell
    from lazyguard._core.deadlines import Deadline
    from lazyguard._core.effects import Steps


def attempting(cell: Cell, attempt: Attempt, until: float | None = None) -> Steps[Outcome]:
    """One attempt: attempts until one succeeds, the retry gives up, or the generation ends.

    Where the caller's own thread runs it, no retry begins that would pass `until`, its deadline.
    """
    plan = cell.plan
    retries = None
    while True:
        outcome = yield from trying(cell, attempt)
        if outcome.error is None or outcome.final or plan.retry is None or not mode.is_active():
            return outcome
        if retries is None:
            retries = plan.retry.begin(cell.factory)
        ended: Outcome | None = yield from retries.again(outcome, until)
        if ended is not None:
            return ended
        if not cell.now.counts(attempt):
            return outcome


def trying(cell: Cell, attempt: Attempt) -> Steps[Outcome]:
    """One attempt: run the factory, then the probe on what it made. What is not served, `settle` closes."""
    plan = cell.plan
    attempt.made = None if plan.close is None else loaded("_core.closing").PendingClose(attempt)
    outcome: Outcome = yield Call(cell.factory, awaited=plan.awaited, made=attempt.made, attempt=attempt)
    if not outcome.ok:
        return outcome
    if attempt.made is not None:
        attempt.made.built()
    wrong = _wrong(cell, outcome.value)
    if wrong is not None:
        return Outcome(error=wrong, final=True)
    if plan.probe is not None:
        probed: Outcome = yield Call(plan.probe, outcome.value, awaited=plan.awaited, attempt=attempt)
        if not probed.ok:
            cell.dispose(attempt)
            return probed
    return outcome


def _wrong(cell: Cell, made: Any) -> Exception | None:
    """Return what is wrong with what a factory has made, whoever tries it again."""
    found: Exception | None = None
    if made is None and not cell.plan.allow_none:
        missing = "returned None. A factory returns the object that it makes: is a `return` missing?"
        found = cell.error("ReturnedNone", missing)
    elif cell.plan.wrong is not None and (why := cell.plan.wrong(made)) is not None:
        found = loaded("errors", cell).ConfigurationError(f"its factory returned {why}")
    elif cell.mirror is not None and cell.mirror.is_shown_by(made):
        own = "returned what stands for it in place of the object: is the name that it returns, or imports, its own?"
        found = cell.error("CircularResolutionError", own)
    return found


def resolving(cell: Cell, *, wait: float | None = None, real: bool = False) -> Steps[Any]:
    """One caller: serve what is there, join the attempt that is under way, or launch one.

    What the cell owes is done here, where something ends it that is no error of lazyguard's.

    Args:
        cell: Whose target is wanted.
        wait: Seconds to wait at the most; None for the plan's timeout.
        real: Whether a fallback will not do.

    Returns:
        The target.

    Raises:
        ResolutionError: The factory failed, and no fallback may be served.
        ResolutionTimeout: The wait ended first.
        ResolutionDeadlineExceeded: The caller's deadline passed first. That is its own affair: no fallback is served
            for it, since that would be served to all.
        ServiceUnavailable: There is a fallback, but it may not be served here, or it failed too.
        ServiceCircuitOpen: Calls on the target have failed, there is no fallback, and no attempt is due yet.
    """
    try:
        while True:
            cell = cell.here()
            if cell.mirror is not None:
                cell.mirror.load(cell)
            target = yield from _resolving(cell, wait=wait, real=real)
            if target is not _ELSEWHERE:
                return target
    except BaseException as error:
        known = whole("errors")
        if known is None or not isinstance(error, known.LazyguardError):
            owed[cell] = None
            loaded(INTERRUPTIONS, cell).catch_up()
        else:
            cell.end_unlaunched()
            if isinstance(error, known.ServiceBeingBuilt):
                loaded("_core.tasks").go_on(cell)
        raise


def _resolving(cell: Cell, *, wait: float | None, real: bool, of: Cell | None = None) -> Steps[Any]:
    """Do `resolving` for this cell, which may be a fallback `of` another.

    Returns:
        The target. None: there is no need of the fallback any more. _ELSEWHERE: it is another loop's by now.
    """
    real = real or not mode.is_active()
    limit = cell.plan.timeout if wait is None and mode.is_active() else wait
    until = None if limit is None else clock.now() + limit
    kept = 0.0 if real or limit is None else limit * _shares(cell.fallbacks)
    patience = None if until is None else until - kept
    given = deadlines.current()
    if given is not None and (patience is None or given.ends < patience):
        patience = given.ends
    else:
        given = None
    while True:
        if of is None and elsewhere(cell):
            return _ELSEWHERE
        if of is not None and of.now.served:
            return None
        now = cell.now
        if now.state == READY or (now.state == DEGRADED and not real):
            if _at_home(now) and not expired(cell, now):
                return permitted(cell, now)
            cell.renew(now)
            continue
        if not real and now.state == FAILED and cell.fallbacks and now.cause is not None:
            yield from falling_back(cell, now, loaded("_core.causes", cell).again(now.cause), limit, until)
            continue
        if given is not None and clock.now() >= given.ends:
            raise _too_late(cell, given)
        if mode.forbid is not None:
            mode.forbid(cell)
        wait_cycles.room()
        if cell.crowded(now, clock.now()):
            why = yield from _waiting_for_a_place(cell, patience)
            if why is not None:
                if given is not None and clock.now() >= given.ends:
                    raise _too_late(cell, given)
                yield from falling_back(cell, now, _unavailable(cell, why), limit, until, real=real)
            continue
        gate = now.gate if now.gate is None or now.gate.by_hand or (now.state == FAILED and not real) else None
        entered = None if gate is None else gate.admit(cell)
        attempt, new, now = cell.find_attempt(now)
        if entered is not None:
            _tell(entered, attempt if new else None)
        if attempt is None:
            continue
        stuck = not new and wait is None and now.stuck(clock.now(), cell.plan.abandon_after)
        news = not stuck and (yield Join(attempt, patience, now, real=real, launches=new))
        now = cell.now
        while news and attempt.outcome is None and attempt not in now.running and not now.served:
            news = yield Join(attempt, patience, now, real=real)  # it is about to end: that is what to wait for
            now = cell.now
        if now.state == READY or (now.served and not real):
            continue
        outcome = attempt.outcome
        if not news:
            cell.tell("timeout", now, now, clock.now() - attempt.started)
            if given is not None and not stuck:
                raise _too_late(cell, given)
            yield from falling_back(cell, now, _late(cell, limit, kept, stuck=stuck), limit, until, real=real)
        elif outcome is None:
            continue  # a reset, or another attempt's result: look again
        elif outcome.interrupted and outcome.final:
            raise _unavailable(cell, "aclose() came while it was being built. Its next use builds it")
        elif new and outcome.interrupted and outcome.error is not None:
            try:
                raise outcome.error  # its task could raise it to nobody
            finally:
                del attempt, outcome  # else a cycle: the error, its traceback, this frame
        elif outcome.error is not None and not outcome.interrupted and attempt.generation == now.generation:  # noqa: SIM102
            if real or not cell.fallbacks:  # else the next round serves the fallback
                raise failure(cell, outcome.error) from loaded("_core.causes", cell).again(outcome.error)


# Stands for the target of a cell that another event loop was the first to use.
_ELSEWHERE: Any = object()


def elsewhere(cell: Cell) -> bool:
    """Return whether a service's cell is another event loop's than the one that runs here."""
    home = cell.home
    if home is None or not cell.plan.awaited or cell.mirror is None:
        return False
    here = wait_cycles.current_loop()
    return here is not None and here is not home and not home.is_closed()


def _waiting_for_a_place(cell: Cell, until: float | None) -> Steps[str | None]:
    """Wait until one of the other keys' attempts has ended; return why there is no place if none does in time."""
    places, patience = cell.plan.bulkhead, cell.plan.abandon_after
    assert places is not None
    pause = 0.005
    while (now := clock.now()) < (now + 1.0 if until is None else until):
        if cell.now.served or not cell.crowded(cell.now, now):
            return None
        if places.hanging(now, patience) >= 2 * places.most:
            break  # there is nothing to wait for
        yield Sleep(pause if until is None else min(pause, until - now))
        pause = min(2 * pause, 0.1)
    return (
        f"max_concurrent={places.most} attempts to build objects of it are under way, and "
        f"{places.hanging(clock.now(), patience)} of them hang. Give what they call a time-out of its own, or the "
        "service a higher max_concurrent="
    )


def _tell(entered: Callable[[Outcome], object], attempt: Attempt | None) -> None:
    """Let the gate know how the attempt ends that it has let begin; None: none has begun."""
    if attempt is None:
        entered(Outcome(interrupted=True))
    else:
        attempt.on_done(lambda: entered(attempt.outcome or Outcome(interrupted=True)))


def _at_home(now: Snapshot) -> bool:
    if now.home is None:
        return True
    here = wait_cycles.current_loop()
    return here is now.home or (here is None and not now.home.is_closed())


def _shares(fallbacks: tuple[Cell, ...]) -> float:
    """Return which part of a caller's wait is kept for these fallbacks; a tenth is left to the real object."""
    return min(0.9, sum(fallback.plan.share for fallback in fallbacks))


def falling_back(
    cell: Cell, now: Snapshot, cause: BaseException, limit: float | None, until: float | None, *, real: bool = False
) -> Steps[None]:
    """Build the first fallback that can be built, each in a cell of its own, and let the cell serve it.

    Where there is none, or the `real` object is wanted, the cause is raised. What is left of the caller's wait is
    theirs, and each has its share of it whatever those before it took.
    """
    if real or not cell.fallbacks:
        try:
            raise cause
        finally:
            del cause  # else a cycle: an error, its traceback, this frame
    refusal = _refusal(cell, now)
    if refusal is not None:
        raise _unavailable(cell, refusal) from cause
    errors = loaded("errors", cell)
    cell.kept = loaded("_core.causes", cell).keep(cause)
    failed = []
    last: Exception | None = None
    for index, fallback in enumerate(cell.fallbacks):
        wait = fallback.plan.timeout
        if limit is not None and until is not None:
            left = until - clock.now() - limit * _shares(cell.fallbacks[index + 1 :])
            left = max(left, limit * fallback.plan.share)
            wait = left if wait is None else min(wait, left)
        if fallback.plan.awaited:
            fallback.home = cell.home
        try:
            target = yield from _resolving(fallback, wait=wait, real=False, of=cell)
        except (errors.CircularResolutionError, errors.DeadlineExceeded):
            raise
        except (errors.ResolutionError, errors.MissingModuleError) as error:
            last = error.with_traceback(None)  # else a cycle: the error, its traceback, this frame
            fallback.kept = loaded("_core.causes", cell).keep(last)  # a caller may raise it again
            why = "took too long" if isinstance(error, errors.ResolutionTimeout) else "failed too"
            failed.append(f"its fallback, declared at {fallback.place}, {why}")
        else:
            if target is not None:
                cell.degrade(target, cause, now.generation, fallback)
            return
        if cell.now.served:
            return
    raise _unavailable(cell, ", and ".join((f"it failed with {describe(cause)}", *failed))) from last


def expired(cell: Cell, now: Snapshot) -> bool:
    """Return whether callers are to try again what is degraded, since no thread may do it in the background."""
    if now.state != DEGRADED or loaded(DAEMONS).allowed or cell.plan.recovery is None:
        return False
    return bool(clock.now() - now.since >= cell.real_recovery().initial)


def permitted(cell: Cell, now: Snapshot) -> Any:
    """Return what is being served, unless it is a fallback that may not be served to this caller."""
    if now.state == READY:
        return now.target
    if loaded(DAEMONS).refused:
        loaded(DAEMONS).try_again()
    refusal = _refusal(cell, now)
    if refusal is not None:
        raise _unavailable(cell, refusal) from loaded("_core.causes", cell).again(now.cause)
    return now.target


def _refusal(cell: Cell, now: Snapshot) -> str | None:
    return None if cell.plan.refuses is None else cell.plan.refuses(cell, now)


def _unavailable(cell: Cell, why: str) -> Any:
    return cell.error("ServiceUnavailable", f"is not available: {why}.")


def _late(cell: Cell, limit: float | None, kept: float, *, stuck: bool) -> Any:
    """Return what a caller is told whose wait has ended; `kept`: how much of the `limit` is left for a fallback."""
    if stuck:
        text = (
            "is stuck: two attempts hang, and no third one begins, so that there is nothing to wait for. health() "
            "shows where they hang: give what they call there a time-out of its own."
        )
    else:
        within = f"{limit - kept:g} s ({kept:g} s are kept for a fallback)" if limit and kept else f"{limit} s"
        mend = "." if kept else ", or a fallback."
        text = f"was not built within {within}. {_GOES_ON}; give it a longer timeout={mend}"
    return cell.error("ResolutionTimeout", text)


def _too_late(cell: Cell, given: Deadline) -> Any:
    return cell.error("ResolutionDeadlineExceeded", f"was not built in time: {given.exceeded()} {_GOES_ON}.")


_GOES_ON = "The attempt goes on and is adopted if it ends well"


def failure(cell: Cell, error: BaseException) -> Any:
    """Return what a caller is told about a factory that raised `error`: a new exception for each caller."""
    known = loaded("errors", cell)
    said: Any
    of_itself = isinstance(error, known.ResolutionImportError) and str(error).startswith(f"{cell.name}, declared")
    told = known.CircularResolutionError, known.MissingModuleError, known.ReturnedNone, known.ThreadUnavailable
    if of_itself or isinstance(error, told):
        said = type(error)(*error.args)
    elif isinstance(error, known.ConfigurationError):  # of the declaration: the factory need not have raised it
        said = cell.error("ResolutionError", f"could not be built: {error}")
    else:
        mend = "The traceback shows above what it raised."
        if isinstance(error, SystemExit):
            mend = "A factory must not end the process: raise an error that says what is wrong."
        kind = "ResolutionImportError" if isinstance(error, ImportError) else "ResolutionError"
        said = cell.error(kind, f"could not be built: its factory raised {describe(error)}. {mend}")
    if isinstance(error, ImportError):
        said.name, said.path = error.name, error.path
    return said
