"""What forks children that find their dependencies loaded.

Invariants: `child.py` runs this in place of itself. The process has one thread, and answers the requests of the audit
one by one. A forked child has a marker of its own in its environment, its own session, and the pipes in its directory.
"""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lazyguard.audit.target import child, dependencies, recorder, stream

# The variable of the environment by which the processes that come from a child are known.
MARKER = "LAZYGUARD_AUDIT_CHILD"


class Marker:
    """The marker in the environment that /proc shows: a forked process has its parent's, unless it is written over."""

    def __init__(self) -> None:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            began = int(file.read().rpartition(")")[2].split()[47])
        with open("/proc/self/environ", "rb") as file:
            entries = b"\0" + file.read()
        self.place: int = began + entries.index(f"\0{MARKER}=".encode()) + len(MARKER) + 1

    def write(self, token: str) -> None:
        """Write a token over the one that is there."""
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        os.pwrite(memory, token.encode("ascii"), self.place)
        os.close(memory)
        os.environ[MARKER] = token


class KeptEvents:
    """A stream that keeps what is noted: what the packages above a module did, for the children that come of them."""

    def __init__(self, lines: bytes) -> None:
        self.process: int = os.getpid()
        self.lines: bytes = lines

    def note(self, *fields: "Any") -> None:
        """Keep a line."""
        self.lines += stream.line(fields)

    send = note


class Server:
    """Answers the audit: forks children, and processes that hold a package which was imported."""

    def __init__(self, hidden: "dependencies.Hidden", roots: "tuple[str, ...]", setup: str) -> None:
        self.setup: str = setup
        self.hidden: dependencies.Hidden = hidden
        self.roots: tuple[str, ...] = roots
        self.marker: Marker = Marker()
        self.recording: recorder.Recorder | None = None
        self.kept: KeptEvents | None = None
        self.began: float = 0.0
        self.paused: float = 0.0
        self.waited: float = 0.0
        self.children: set[int] = set()
        self.down: int = -1
        self.up: int = -1

    def open(self, directory: str) -> None:
        """Take the audit's pipes of this process."""
        for old in (self.up, self.down):
            if old >= 0:
                os.close(old)
        self.up = stream.out_of_the_way(os.open(directory + "/up", os.O_WRONLY | os.O_CLOEXEC))
        self.down = stream.out_of_the_way(os.open(directory + "/down", os.O_RDONLY | os.O_CLOEXEC))

    def report(self, *fields: "Any") -> None:
        """Answer the audit."""
        os.write(self.up, stream.line(fields))

    def serve(self) -> None:
        """Answer until the audit has gone; in a forked child this does not return."""
        text = b""
        while read := os.read(self.down, 1 << 16):
            text += read
            while b"\n" in text:
                line, _, text = text.partition(b"\n")
                verb, *words = line.decode("utf-8", "surrogateescape").split("\t")
                if verb == "reap":
                    self.reap(int(words[0]))
                else:
                    self.fork(verb, *words)
        for pid in self.children:
            try:
                os.killpg(pid, 9)
            except OSError:
                continue
        recorder._exit(0)

    def reap(self, pid: int) -> None:
        """Reap a forked child, and report its status and its processor time."""
        _, status, usage = os.wait4(pid, 0)
        self.children.discard(pid)
        self.report(status, usage.ru_utime + usage.ru_stime)

    def fork(self, verb: str, directory: str, token: str, module: str, timeout: str) -> None:
        """Fork a child that imports a module, or a process that holds a package."""
        pipes = self.up, self.down
        self.up = self.down = -1
        self.open(directory)
        pid = os.fork()
        if pid:
            os.close(self.up)
            os.close(self.down)
            self.up, self.down = pipes
            self.children.add(pid)
            self.report(pid)
            return
        self.children = set()
        for each in pipes:
            os.close(each)
        os.setsid()
        self.marker.write(token)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        for number, (name, how) in enumerate((("/dev/null", os.O_RDONLY), ("/out", flags), ("/err", flags))):
            file = os.open(name if number == 0 else directory + name, how, 0o600)
            os.dup2(file, number)
            os.close(file)
        if verb == "hold":
            self.hold(module)
        else:
            self.run(directory, module, float(timeout))

    def resumed(self, answers: "Any") -> "recorder.Recorder":
        """Return a recorder whose clock goes on where that of the packages above has stopped."""
        recording = self.recording
        if recording is None:
            recording = self.recording = self.hidden.recording = recorder.Recorder(answers, self.roots)
            recording.install()
            recording.spent = 0.0
            self.began = recorder._clock()
        else:
            recording.stream, recording.done = answers, False
            recording.spent += recorder._clock() - self.paused
        return recording

    def hold(self, package: str) -> None:
        """Import a package, or run the setup where its name is empty, and answer in that state."""
        before = fork_state()
        kept = self.kept = KeptEvents(self.kept.lines if self.kept is not None else b"")
        recording = self.resumed(kept)
        waited = child.queued()
        seconds, problem = child.imported(recording, package, self.began, self.setup)
        self.waited += child.queued() - waited
        if problem is not None:
            recorder._exit(1)
        if not package:
            kept.lines, self.began, self.waited = b"", recording.now(), 0.0
        recording.done = True  # the forks of this process are no acts of the package, and count in no time of its
        self.paused = recorder._clock()
        self.report("holds", seconds, fork_state() == before and self.hidden.doubtful is None)
        self.serve()

    def run(self, directory: str, module: str, timeout: float) -> None:
        """Import a module as any child does."""
        answers = stream.Stream(self.up, directory, self.down)
        if self.kept is not None:
            os.write(answers.events.descriptor, self.kept.lines)
        recording = self.resumed(answers)
        answers.send("start", self.began, recorder._ident(), module in sys.modules)
        waited = child.queued()
        taken, problem = child.imported(recording, module, self.began)
        waited = self.waited + child.queued() - waited
        if self.hidden.doubtful is not None:
            answers.send("doubtful", self.hidden.doubtful)
        child.leave(recording, taken, problem, timeout, waited)


def fork_state() -> "tuple[int, int, int]":
    """Return the numbers of threads, of shared files and of children: what a fork cannot take along, or shares."""
    with open("/proc/thread-self/children", encoding="ascii") as file:
        children = len(file.read().split())
    return len(os.listdir("/proc/self/task")), sum(map(shared, os.listdir("/proc/self/fdinfo"))), children


def shared(number: str) -> bool:
    """Return whether forks share the state of an open file. Those of one that is only appended to, a log, do not."""
    try:
        with open("/proc/self/fdinfo/" + number, encoding="ascii") as file:
            return not int(file.read().split()[3], 8) & os.O_APPEND
    except OSError:
        return False  # that which has listed them


def main(argv: "list[str]") -> None:
    """Run `child.py zygote DIRECTORY PATH STATEMENTS FORBIDDEN SETUP ROOT...`: load, say ready, fork until the end."""
    directory, path, candidates, forbidden, setup, *roots = argv
    child.settle(path)
    hidden = dependencies.Hidden()
    server = Server(hidden, tuple(roots), setup)
    server.open(directory)
    hidden.base = set(sys.modules)
    hidden.path = list(sys.path)
    sys.meta_path.insert(0, hidden)
    loader = dependencies.Loader(set(filter(None, forbidden.split(","))), tuple(roots))
    dependencies.load(candidates, hidden, loader, server.report)
    if loader.unsafe:
        server.report("unsafe", *[part for item in loader.unsafe.items() for part in item])
        recorder._exit(0)
    gc.collect()
    gc.freeze()
    server.report("ready", len(hidden.nodes))
    server.serve()
