"""The engine, the session of the current thread, and the transaction around a piece of work."""

from __future__ import annotations

import os
from contextlib import contextmanager

import lazyguard
from lazyguard.integrations.sqlalchemy import lazy_engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import DeclarativeBase, Session, scoped_session


def database_url() -> str:
    from core.config import config

    os.makedirs(config.data_dir, exist_ok=True)
    return config.database_url


def configure(engine: Engine) -> None:
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection, record):
        if engine.dialect.name == "sqlite":
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA busy_timeout=5000")


engine = lazy_engine(database_url, name="database", configure=configure, connect_timeout=2.0)


@lazyguard.lazy(on_fork="reset")
def session() -> scoped_session[Session]:
    from sqlalchemy.orm import scoped_session, sessionmaker

    return scoped_session(sessionmaker(bind=lazyguard.resolve(engine), expire_on_commit=False))


@lazyguard.lazy_attribute
def Base() -> type[DeclarativeBase]:
    from core.models import Base

    return Base


def init_db():
    """Make the tables that are not there yet."""
    Base.metadata.create_all(engine)


@contextmanager
def transaction():
    """The thread's session; committed at the end, rolled back when an error passes."""
    try:
        yield session
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.remove()
