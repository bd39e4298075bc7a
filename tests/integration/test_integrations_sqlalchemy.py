"""`lazyguard.integrations.sqlalchemy` with a real PostgreSQL: pools, deadlines, forks, a replica, lazy models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

import lazyguard
from lazyguard._core import declaration
from lazyguard.integrations.sqlalchemy import (
    dispose,
    dispose_async,
    lazy_async_engine,
    lazy_engine,
    make_async_engine,
    make_engine,
    ping,
    ping_async,
    renew,
)
from lazyguard.testing import FakeClock

sa = pytest.importorskip("sqlalchemy", reason="the extra `sqlalchemy` has it")
from sqlalchemy import event, orm  # noqa: E402
from sqlalchemy.ext import asyncio as asa  # noqa: E402

pytestmark = pytest.mark.usefixtures("limited")
BUDGET, SLACK, LONG = 0.2, 8.0, 60.0


class Base(orm.DeclarativeBase):
    """Of the test's models."""


class Thing(Base):
    """A row."""

    __tablename__ = "thing"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]


@pytest.fixture(scope="module")
def server(make_postgres):
    """Return a PostgreSQL that runs."""
    pytest.importorskip("psycopg", reason="the group `integration` has it")
    made = make_postgres()
    made.start()
    return made


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """What other tests declared is not seen here; what a test connects is closed after it."""
    monkeypatch.setattr(declaration, "_registered", {})
    yield
    lazyguard.close()


def url_of(server, name="shop", driver="psycopg"):
    options = f"?application_name={name}" if driver == "psycopg" else ""
    return f"postgresql+{driver}://postgres@127.0.0.1:{server.port}/postgres{options}"


@pytest.fixture
def connected(server):
    """Return a function that asks the server for the processes of all connections of a name."""
    import psycopg

    with psycopg.connect(f"host=127.0.0.1 port={server.port} user=postgres", autocommit=True) as watching:

        def ask(name="shop"):
            found = watching.execute("select pid from pg_stat_activity where application_name = %s", [name])
            return {pid for (pid,) in found}

        yield ask


def test_importing_and_declaring_loads_no_sqlalchemy():
    """The module that declares an engine does not pay for SQLAlchemy."""
    lines = """
import sys, lazyguard
from lazyguard.integrations.sqlalchemy import lazy_engine, lazy_async_engine
engine = lazy_engine(lambda: "sqlite://", pool_size=3)
other = lazy_async_engine("postgresql+asyncpg://x/y")
repr(engine), lazyguard.health()
print(sorted({"sqlalchemy", "psycopg", "asyncio", "typing", "threading", "inspect", "logging"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}{lines}"],
                          capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    assert done.stdout == "[]\n"


def lazily():
    engine = lazy_engine("sqlite://", poolclass=sa.StaticPool, pool_pre_ping=False)
    return engine, lazyguard.load(f"{__name__}:Thing")


@pytest.fixture(params=["pending", "resolved"])
def proxies(request, monkeypatch):
    """Return a lazy engine and a lazy model, pending and resolved."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[Thing.__module__])
    engine, model = lazily()
    if request.param == "resolved":
        lazyguard.resolve(engine), lazyguard.resolve(model)
    return engine, model


def test_engines_pass_for_engines(proxies):
    """`inspect`, sessions, events and metadata take a lazy engine, as first use too."""
    engine, _ = proxies
    assert sa.inspect(engine).get_table_names() == []
    seen = []
    event.listen(engine, "commit", lambda connection: seen.append(connection))
    Base.metadata.create_all(engine)
    assert sa.inspect(engine).get_table_names() == ["thing"]
    with orm.Session(bind=engine) as session:
        session.add(Thing(name="one"))
        session.commit()
    with orm.sessionmaker(engine).begin() as session:
        assert [thing.name for thing in session.scalars(sa.select(Thing))] == ["one"]
    scoped = orm.scoped_session(orm.sessionmaker(bind=engine))
    assert scoped.query(Thing).count() == 1
    scoped.remove()
    with engine.begin() as connection:
        assert connection.execute(sa.text("select count(*) from thing")).scalar() == 1
    assert sa.Table("thing", sa.MetaData(), autoload_with=engine).columns.keys() == ["id", "name"]
    assert seen


def test_lazy_models_pass_for_models(proxies):
    """`select`, `insert`, `aliased`, `Session.get` and the rest take a lazily imported class, as first use too."""
    engine, model = proxies
    Base.metadata.create_all(engine)
    assert sa.inspect(lazily()[1]) is sa.inspect(Thing)
    with orm.Session(engine) as session:
        session.execute(sa.insert(model).values(name="one"))
        [thing] = session.scalars(sa.select(model).where(model.name == "one"))
        assert type(thing) is Thing
        assert session.get(lazily()[1], thing.id) is thing
        assert session.query(lazily()[1]).count() == 1
        other = orm.aliased(lazily()[1])
        assert session.scalar(sa.select(other.name)) == "one"
        session.execute(sa.update(lazily()[1]).values(name="two"))
        session.execute(sa.delete(lazily()[1]))
        assert session.scalar(sa.select(sa.func.count()).select_from(lazily()[1])) == 0


def test_what_cannot_be_inspected_says_so():
    """A lazy object of another kind is refused as it would be itself."""
    with pytest.raises(sa.exc.NoInspectionAvailable):
        sa.inspect(lazyguard.lazy(lambda: [1]))


def test_the_pool(server, connected, eventually):
    """Nothing at declaration, one connection at the first use, none after reset and close; the size is as given."""
    engine = lazy_engine(lambda: url_of(server), pool_size=2, name="database")
    assert connected() == set()
    ping(engine)
    assert len(connected()) == 1
    assert (engine.pool.size(), engine.pool._pre_ping) == (2, True)
    with engine.connect(), engine.connect(), engine.connect():
        assert len(connected()) == 3
    assert "database" in {check.name for check in lazyguard.health().checks}
    lazyguard.reset(engine)
    # the server ends a connection's process a moment after the client has closed it
    eventually(lambda: not connected())
    ping(engine)
    lazyguard.close()
    eventually(lambda: not connected())


def test_configure_sets_the_listeners_of_each_engine(server):
    """It is called once an engine, before its first connection, and again for the one after a reset."""
    heard = []

    def configure(engine):
        sa.event.listen(engine, "connect", lambda connection, record: heard.append(engine))

    engine = lazy_engine(url_of(server), configure=configure)
    ping(engine)
    ping(engine)
    first = lazyguard.resolve(engine)
    lazyguard.reset(engine)
    ping(engine)
    assert heard == [first, lazyguard.resolve(engine)]
    lazyguard.close()


def test_configure_of_an_async_engine():
    """It is given the async engine."""
    given = []
    engine = lazy_async_engine("postgresql+psycopg://x/y", configure=given.append)
    assert lazyguard.resolve(engine) is given[0]


@pytest.mark.parametrize("make", [lazy_engine, lazy_async_engine])
def test_an_engine_is_named_and_placed_where_it_is_declared(make):
    """Two of one program are told apart by their lines, and errors send nobody to lazyguard's own."""
    line = sys._getframe().f_lineno + 1
    engine = make("nosuch://")
    assert f"{__name__}:" in repr(engine)
    with pytest.raises(lazyguard.ResolutionError, match=f"{__name__}:.*engine, declared at {__file__}:{line}"):
        lazyguard.resolve(engine)


@pytest.mark.parametrize("make", [lazy_engine, lazy_async_engine])
def test_configure_has_to_be_a_function(make):
    """Said where the engine is declared."""
    with pytest.raises(lazyguard.errors.ConfigurationError, match="configure='pragmas'"):
        make("sqlite://", configure="pragmas")


def test_a_forked_child_has_connections_of_its_own(server, connected, in_child):
    """The parent's is neither used nor ended in the child, and the parent goes on with it."""
    engine = lazy_engine(url_of(server))
    ping(engine)
    [before] = connected()

    def own():
        with engine.connect() as connection:
            return connection.exec_driver_sql("select pg_backend_pid()").scalar()

    def child():
        assert engine.pool.checkedin() == 0
        assert own() != before

    assert in_child(child) == 0
    assert own() == before


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_deadline_ends_connecting(server, driver):
    """A server that accepts and does not answer is waited for no longer than the deadline."""
    pytest.importorskip(driver, reason="the group `integration` has it")
    server.freeze()
    try:
        start = time.monotonic()
        if driver == "psycopg":
            with lazyguard.deadline(BUDGET), pytest.raises((sa.exc.OperationalError, TimeoutError)):
                make_engine(url_of(server), connect_timeout=LONG).connect()
        else:
            asyncio.run(connect(make_async_engine(url_of(server, driver=driver), connect_timeout=LONG)))
        assert BUDGET * 0.9 <= time.monotonic() - start < SLACK
    finally:
        server.thaw()


def test_a_deadline_ends_a_statement(server, monkeypatch):
    """What is cancelled on a server that is silent says no goodbye to it, which takes two seconds there."""
    asyncpg = pytest.importorskip("asyncpg", reason="the group `integration` has it")
    goodbyes = []
    close = asyncpg.Connection.close

    def seen(*arguments, **named):
        goodbyes.append(named)
        return close(*arguments, **named)

    monkeypatch.setattr(asyncpg.Connection, "close", seen)

    async def main():
        engine = make_async_engine(url_of(server, driver="asyncpg"), pool_pre_ping=False)
        await ping_async(engine)
        server.freeze()
        try:
            with pytest.raises(lazyguard.DeadlineExceeded):
                async with lazyguard.deadline(BUDGET):
                    await ping_async(engine)
        finally:
            server.thaw()
        assert goodbyes == []
        await ping_async(engine)
        await engine.dispose()
        assert goodbyes

    asyncio.run(main())


@pytest.mark.parametrize("options", [{}, {"pool_pre_ping": False}], ids=["pinged", "not"])
def test_a_deadline_ends_a_statement_of_psycopg(server, options):
    """A connection of the pool whose server falls silent is waited for no longer; the next use has another one."""
    engine = make_engine(url_of(server), **options)
    own = sa.select(sa.func.pg_backend_pid())
    with orm.Session(engine) as session:
        before = session.scalar(own)
    server.freeze()
    try:
        start = time.monotonic()
        with lazyguard.deadline(BUDGET), orm.Session(engine) as session:
            with pytest.raises((sa.exc.OperationalError, TimeoutError)):
                session.scalar(own)
        assert BUDGET <= time.monotonic() - start < SLACK
    finally:
        server.thaw()
    with orm.Session(engine) as session:
        assert session.scalar(own) != before
    with lazyguard.deadline(LONG), orm.Session(engine) as session, pytest.raises(sa.exc.OperationalError):
        with lazyguard.deadline(BUDGET):
            session.execute(sa.select(sa.func.pg_sleep(LONG)))
    engine.dispose()


def test_no_wait_of_psycopg_passes_the_deadline(server):
    """It looks up from a wait each tenth of a second: what is left after the last of them is waited for by us."""
    import socket

    from lazyguard.integrations._psycopg_connection import INTERVAL, _limited

    def steps():
        got = yield (one.fileno(), 1)
        return got

    one, other = socket.socketpair()
    with one, other:
        with lazyguard.deadline(LONG):
            assert next(_limited(steps())) == (one.fileno(), 1)
        with lazyguard.deadline(INTERVAL / 2), pytest.raises(lazyguard.DeadlineExceeded):
            next(_limited(steps()))
        other.send(b"x")
        with FakeClock(), lazyguard.deadline(INTERVAL / 2), pytest.raises(StopIteration) as ended:
            next(_limited(steps()))
        assert ended.value.value == 1


async def connect(engine):
    # asyncio's own is another before 3.11
    with lazyguard.deadline(BUDGET), pytest.raises((sa.exc.OperationalError, TimeoutError, asyncio.TimeoutError)):
        async with engine.connect():
            pass
    await engine.dispose()


def bounds(engine):
    """Return what an engine gives its driver to connect with; None where it leaves that to SQLAlchemy."""
    from lazyguard.integrations._psycopg_connection import Connection

    given = []
    with pytest.MonkeyPatch.context() as patch:
        for of in (engine.dialect, Connection):
            patch.setattr(of, "connect", lambda **named: given.append(named) or "connected")
        places = [bound(engine.dialect, None, [], {}) for bound in engine.dialect.dispatch.do_connect]
    assert places == (["connected"] if given else [None])
    return given[0] if given else None


def test_connect_timeouts_of_ones_own(clock):
    """Whole seconds for psycopg, a fraction for asyncpg, none for SQLite; in a deadline no more than what is left."""
    pytest.importorskip("psycopg", reason="the group `integration` has it")
    psycopg = make_engine("postgresql+psycopg://x/y", connect_timeout=2.5)
    psycopg_async = make_async_engine("postgresql+psycopg://x/y", connect_timeout=2.5)
    asyncpg = make_async_engine("postgresql+asyncpg://x/y", connect_timeout=2.5)
    assert bounds(psycopg) == bounds(psycopg_async.sync_engine) == {"connect_timeout": 3}
    assert bounds(asyncpg.sync_engine) == {"timeout": 2.5}
    assert bounds(make_engine("sqlite://")) is None
    with lazyguard.deadline(2.0):
        assert bounds(psycopg) == {"connect_timeout": 2}
    with lazyguard.deadline(1.5):
        assert bounds(psycopg_async.sync_engine) == {"connect_timeout": 2}
        assert bounds(asyncpg.sync_engine) == {"timeout": 1.5}
    with pytest.raises(lazyguard.errors.ConfigurationError, match="connect_timeout"):
        make_engine("sqlite://", connect_timeout=0)


def test_the_connection_that_asks_the_deadline_is_psycopgs_own(server, clock):
    """It connects while there is time, which does not go on here, and raises when there is none."""
    from lazyguard.integrations._psycopg_connection import Connection

    where = f"host=127.0.0.1 port={server.port} user=postgres connect_timeout=60"
    with lazyguard.deadline(1.0):
        with Connection.connect(where) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        clock.advance(2.0)
        with pytest.raises(lazyguard.DeadlineExceeded):
            Connection.connect(where)


def test_a_replica_stands_in(server, make_postgres, connected, eventually):
    """Where the primary is away reads go to the replica, writes are refused, and recovery goes back."""
    primary = make_postgres()
    replica = lazy_engine(url_of(server, "replica"), execution_options={"postgresql_readonly": True})

    @lazyguard.service(
        timeout=30.0,
        probe=ping,
        close=dispose,
        on_fork=renew,
        failures=("sqlalchemy.exc:OperationalError",),
        recovery=lazyguard.Recovery(initial=0.05, maximum=0.2, success_threshold=1),
    )
    def get_engine() -> sa.Engine:
        return make_engine(url_of(primary, "primary"), connect_timeout=2.0)

    @get_engine.fallback
    def _() -> sa.Engine:
        return lazyguard.resolve(replica)

    engine = get_engine()
    with orm.Session(engine) as session:
        assert session.scalar(sa.text("select 1")) == 1
        with pytest.raises(sa.exc.InternalError, match="read-only"):
            session.execute(sa.text("create table denied (id int)"))
    assert lazyguard.is_fallback(engine)
    assert len(connected("replica")) == 1
    primary.start()
    get_engine.require_real(timeout=LONG)
    eventually(lambda: not lazyguard.is_fallback(engine))
    with orm.Session(engine) as session:
        session.execute(sa.text("create table allowed (id int)"))
        session.commit()
    lazyguard.close()
    eventually(lambda: not connected("replica"))


def test_async_engines(server):
    """`begin` and async sessions take a lazy one; an async service closes its own on its loop."""
    pytest.importorskip("asyncpg", reason="the group `integration` has it")
    engine = lazy_async_engine(url_of(server, driver="asyncpg"), pool_size=1)

    @lazyguard.service(close=dispose_async, recovery=None)
    async def get_engine() -> asa.AsyncEngine:
        return make_async_engine(url_of(server, driver="asyncpg"))

    async def main():
        async with engine.begin() as connection:
            assert (await connection.execute(sa.text("select 1"))).scalar() == 1
        async with asa.AsyncSession(engine) as session:
            assert await session.scalar(sa.text("select 2")) == 2
        async with asa.async_sessionmaker(await get_engine.aget())() as session:
            assert await session.scalar(sa.text("select 3")) == 3
        assert engine.pool.size() == 1
        await engine.dispose()
        await lazyguard.aclose()
        assert get_engine.health().state == "pending"

    asyncio.run(main())
