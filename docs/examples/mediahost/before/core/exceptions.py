"""The program's errors, the counter that they are counted in, and the ones that are worth another try."""

import logging

import kombu.exceptions
import redis
import requests
import sqlalchemy.exc
from redis import Redis, RedisError

from core.config import config

logger = logging.getLogger(__name__)


class MediaHostError(Exception):
    """Something went wrong in the program itself; `status` is what HTTP says about it."""

    status = 500


class MeetingNotFound(MediaHostError):
    status = 404

    def __init__(self, meeting_id):
        super().__init__(f"there is no meeting {meeting_id}")
        self.meeting_id = meeting_id

    def __reduce__(self):
        return type(self), (self.meeting_id,)


class TranscriptionFailed(MediaHostError):
    status = 502


class QueueUnavailable(MediaHostError):
    status = 503


class ErrorCounter:
    """Counts errors by type in one Redis hash, which all processes share."""

    key = "mediahost:errors"

    def __init__(self, url):
        self.redis = Redis.from_url(url, socket_timeout=2, decode_responses=True)
        try:
            self.redis.ping()
        except RedisError:
            pass

    def count(self, error):
        try:
            self.redis.hincrby(self.key, type(error).__name__, 1)
        except RedisError:
            logger.warning("%s was not counted", type(error).__name__)

    def totals(self):
        try:
            return {name: int(count) for name, count in self.redis.hgetall(self.key).items()}
        except RedisError:
            return {}


error_counter = ErrorCounter(config.redis_url)

RETRYABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    requests.ConnectionError,
    requests.Timeout,
    sqlalchemy.exc.OperationalError,
    kombu.exceptions.OperationalError,
    TranscriptionFailed,
    QueueUnavailable,
)
