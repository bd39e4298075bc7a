"""The program's errors, the counter that they are counted in, and the ones that are worth another try."""

import lazyguard


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
        from redis import Redis

        self.redis = Redis.from_url(url, socket_timeout=2, decode_responses=True)
        self.redis.ping()

    def ping(self):
        self.redis.ping()

    def count(self, error):
        self.redis.hincrby(self.key, type(error).__name__, 1)

    def totals(self):
        return {name: int(count) for name, count in self.redis.hgetall(self.key).items()}


class NoErrorCounter(ErrorCounter):
    """What stands in: counts nothing."""

    def __init__(self):
        pass

    def ping(self):
        pass

    def count(self, error):
        pass

    def totals(self):
        return {}


@lazyguard.service(timeout=2.0, probe=ErrorCounter.ping, failures=("redis:RedisError",))
def get_error_counter() -> ErrorCounter:
    from core.config import config

    return ErrorCounter(config.redis_url)


@get_error_counter.fallback
def _no_error_counter() -> ErrorCounter:
    return NoErrorCounter()


error_counter = get_error_counter()


@lazyguard.lazy_attribute
def RETRYABLE() -> tuple[type[Exception], ...]:
    import kombu.exceptions
    import redis
    import requests
    import sqlalchemy.exc

    return (
        redis.ConnectionError,
        redis.TimeoutError,
        requests.ConnectionError,
        requests.Timeout,
        sqlalchemy.exc.OperationalError,
        kombu.exceptions.OperationalError,
        lazyguard.ServiceUnavailable,
        TranscriptionFailed,
        QueueUnavailable,
    )
