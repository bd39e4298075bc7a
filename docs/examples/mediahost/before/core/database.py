"""The engine, the session of the current thread, and the transaction around a piece of work."""

import os
from contextlib import contextmanager

from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, scoped_session, sessionmaker

from core.config import config

os.makedirs(config.data_dir, exist_ok=True)
engine = create_engine(config.database_url)
session = scoped_session(sessionmaker(bind=engine, expire_on_commit=False))


class Base(DeclarativeBase):
    pass


@event.listens_for(engine, "connect")
def _set_pragmas(connection, record):
    if engine.dialect.name == "sqlite":
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA busy_timeout=5000")


def init_db():
    """Make the tables that are not there yet."""
    import core.models

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
