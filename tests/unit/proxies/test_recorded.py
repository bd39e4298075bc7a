"""Recorded decorators: kept at import, replayed in order inside the one build."""

from __future__ import annotations

import asyncio
import threading

import pytest

import lazyguard
from lazyguard import ResolutionError, is_resolved, lazy, reset, resolve


class Signal:
    """Something with a decorator of its own."""

    def __init__(self, log):
        self.log = log

    def connect(self, function=None, **options):
        """Register; usable with and without options."""
        if function is None:
            return lambda decorated: self.connect(decorated, **options)
        self.log.append(("connect", function.__name__, options))
        return function


class App:
    """A Celery in small."""

    def __init__(self):
        self.log = []
        self.on_after_configure = Signal(self.log)
        self.plain = "plain"

    def task(self, function=None, **options):
        """A decorator with and without options; gives something else than the function."""
        if function is None:
            return lambda decorated: self.task(decorated, **options)
        self.log.append(("task", function.__name__, options))
        return Task(function, self)

    def errorhandler(self, code):
        """A decorator that needs an argument, and gives the function back."""

        def decorate(function):
            self.log.append(("errorhandler", code, function.__name__))
            return function

        return decorate

    def listen(self, function):
        """One that returns nothing."""
        self.log.append(("listen", type(function).__name__))

    def broken(self, function):
        """One that fails."""
        raise LookupError("secret")


class Task:
    """What a decorator makes of a function."""

    def __init__(self, function, app):
        self.function = function
        self.name = function.__name__
        self.app = app

    def __call__(self, *arguments):
        return ("called", self.function(*arguments))


RECORD = ("task", "on_after_configure", "errorhandler", "listen", "broken")


def declared():
    """Return a lazy app and the list of the apps made."""
    made = []

    @lazy(record=RECORD)
    def app() -> App:
        made.append(App())
        return made[-1]

    return app, made


def test_nothing_is_built():
    """Decorators of all forms build nothing, and what they give looks like the function."""
    app, made = declared()

    @app.task
    def one():
        """Does one."""

    @app.task(name="second")
    def two(): ...

    @app.on_after_configure.connect
    def configured(): ...

    @app.on_after_configure.connect(weak=False)
    def configured_too(): ...

    @app.errorhandler(404)
    def not_found(): ...

    assert made == []
    assert not is_resolved(one)
    assert (one.__name__, one.__doc__, one.__module__) == ("one", "Does one.", __name__)
    assert one.__qualname__.endswith("<locals>.one")
    assert "one" in repr(one)
    assert "recorded task of" in repr(app.task)
    assert made == []


def test_replayed_in_order():
    """The build replays everything, once, in the order of declaration; the results follow."""
    app, made = declared()

    @app.task
    def one(number):
        return number + 1

    @app.on_after_configure.connect(weak=False)
    def configured(): ...

    @app.task(name="second")
    def two(): ...

    @app.errorhandler(404)
    def not_found():
        return "nothing"

    assert app.plain == "plain"
    assert made[0].log == [
        ("task", "one", {}),
        ("connect", "configured", {"weak": False}),
        ("task", "two", {"name": "second"}),
        ("errorhandler", 404, "not_found"),
    ]
    assert one(2) == ("called", 3)
    assert (two.name, two.app) == ("two", made[0])
    assert isinstance(one, Task)
    assert not_found() == "nothing"
    assert len(made) == 1


def test_a_result_builds():
    """Using what a decorator gave builds the object, with all its records."""
    app, made = declared()

    @app.task
    def one(): ...

    @app.task
    def two(): ...

    assert one.name == "one"
    assert is_resolved(app)
    assert len(made[0].log) == 2


def test_stacked():
    """A decorator above another gets what that made, and not a lazy object."""
    app, made = declared()

    @app.errorhandler(500)
    @app.errorhandler(404)
    def failed():
        return "failed"

    @app.listen
    @app.task(name="inner")
    def inner(): ...

    assert made == []
    resolve(app)
    assert made[0].log == [
        ("errorhandler", 404, "failed"),
        ("errorhandler", 500, "failed"),
        ("task", "inner", {"name": "inner"}),
        ("listen", "Task"),
    ]
    assert failed() == "failed"


def test_stacked_gets_the_real_result():
    """What the outer decorator is given is the very object that the inner one returned."""
    seen = []

    class Spying(App):
        def listen(self, function):
            seen.append(function)
            return function

    @lazy(record=RECORD)
    def spying() -> App:
        return Spying()

    @spying.listen
    @spying.task
    def one(): ...

    resolve(spying)
    assert [type(each) for each in seen] == [Task]
    assert resolve(one) is seen[0]


def test_inside_the_factory():
    """Records that are made while the factory runs, by modules that it imports, belong to the same build."""
    made = []

    @lazy(record=("task",))
    def app() -> App:
        made.append(App())

        @app.task
        def late(): ...

        return made[-1]

    @app.task
    def early(): ...

    assert app.plain == "plain"
    assert [name for _, name, _ in made[0].log] == ["early", "late"]


def test_inside_a_replay():
    """So do those that a replayed decorator makes."""
    made = []

    class Declaring(App):
        def listen(self, function):
            function()

    @lazy(record=RECORD)
    def declaring() -> App:
        made.append(Declaring())
        return made[-1]

    @declaring.listen
    def declare():
        @declaring.task
        def inner(): ...

    resolve(declaring)
    assert made[0].log == [("task", "inner", {})]


def test_after_the_build():
    """When the object is there its decorators are its own."""
    app, made = declared()
    kept = app.task
    resolve(app)

    @app.task
    def late(): ...

    @kept(name="kept")
    def kept_one(): ...

    assert type(late) is Task
    assert kept_one.name == "kept_one"
    assert [name for _, name, _ in made[0].log] == ["late", "kept_one"]


def test_after_a_reset():
    """The next build replays all on the new object, and what the decorators had given follows."""
    app, made = declared()

    @app.task
    def one(): ...

    assert one.app is resolve(app)
    reset(app)

    @app.task
    def two(): ...

    assert resolve(app) is made[1]
    assert [name for _, name, _ in made[1].log] == ["one", "two"]
    assert one.app is made[1]
    assert two.app is made[1]


def test_a_replay_that_fails():
    """The error says where the call was recorded; nothing is swallowed; the next use tries again."""
    app, made = declared()

    @app.broken
    def one(): ...

    for attempt in (1, 2):
        with pytest.raises(ResolutionError) as caught:
            app.plain
        assert isinstance(caught.value.__cause__.__cause__, LookupError)
        assert f"recorded at {__file__}:" in str(caught.value.__cause__)
        assert "secret" not in str(caught.value) + str(caught.value.__cause__)
        assert len(made) == attempt


def test_a_missing_decorator():
    """A record of what the object has not is an error of the build."""

    @lazy(record=("no_such",))
    def app() -> App:
        return App()

    @app.no_such
    def one(): ...

    with pytest.raises(ResolutionError) as caught:
        app.plain
    assert isinstance(caught.value.__cause__.__cause__, AttributeError)


def test_others_build():
    """An attribute that is not recorded builds the object."""
    app, made = declared()
    assert app.log == []
    assert len(made) == 1


def test_dunders_of_a_recording():
    """What looks at a recorded attribute is not recorded."""
    app, made = declared()
    recording = app.task
    assert not hasattr(recording, "__wrapped__")
    assert not hasattr(recording, "__test__")
    resolve(app)
    assert made[0].log == []


def test_a_class_and_an_async_function():
    """Classes and async functions can be decorated."""
    app, _ = declared()

    @app.errorhandler(1)
    class Handler: ...

    @app.errorhandler(2)
    async def handle():
        return "handled"

    assert Handler.__name__ == "Handler"
    assert isinstance(Handler(), resolve(Handler))
    assert asyncio.run(handle()) == "handled"


def test_threads():
    """Records of threads that race with the build are replayed once each."""
    app, made = declared()
    barrier = threading.Barrier(5)

    def declare(number):
        barrier.wait(10)
        for _ in range(20):

            @app.task
            def task(): ...

    def use():
        barrier.wait(10)
        resolve(app)

    threads = [threading.Thread(target=declare, args=(number,)) for number in range(4)]
    threads.append(threading.Thread(target=use))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(made) == 1
    assert len(made[0].log) == 80


def test_override_takes_the_decorators():
    """While the object is overridden its fallback is asked."""
    app, made = declared()
    fake = App()
    with lazyguard.override(app, fake):

        @app.task
        def one(): ...

    assert fake.log == [("task", "one", {})]
    assert made == []
