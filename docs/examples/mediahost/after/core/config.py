"""What the program is told from outside: a frozen dataclass, filled from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Where the parts are. `data_dir` is made when something is first written to it."""

    redis_url: str
    broker_url: str
    database_url: str
    data_dir: str
    speech_url: str
    summary_sentences: int = 3
    queue_limit: int = 1000

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Config:
        data_dir = env.get("MEDIAHOST_DATA_DIR") or os.path.join(env.get("TMPDIR", "/tmp"), "mediahost")
        redis_url = env.get("MEDIAHOST_REDIS_URL", "redis://127.0.0.1:6379/0")
        return cls(
            redis_url=redis_url,
            broker_url=env.get("MEDIAHOST_BROKER_URL", redis_url),
            database_url=env.get("MEDIAHOST_DATABASE_URL", f"sqlite:///{data_dir}/mediahost.db"),
            data_dir=data_dir,
            speech_url=env.get("MEDIAHOST_SPEECH_URL", ""),
            summary_sentences=int(env.get("MEDIAHOST_SUMMARY_SENTENCES", "3")),
            queue_limit=int(env.get("MEDIAHOST_QUEUE_LIMIT", "1000")),
        )


config = Config.from_env()
