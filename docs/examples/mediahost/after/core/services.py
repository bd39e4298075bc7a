"""The three services: speech to text, text to summary, and the queue of meetings that wait for both."""

import lazyguard
from core.exceptions import QueueUnavailable, TranscriptionFailed
from core.tasks import app

with lazyguard.lazy_imports():
    import re
    from collections import Counter

    import pandas as pd
    import requests

    from core.models import Meeting
    from lazyguard.integrations.redis import redis_client

# Redis comes back within seconds: so do we.
SOON = lazyguard.Recovery(initial=0.5, maximum=5.0)
STOP_WORDS = "a an and are as at be but by for from has have i in is it of on or so that the to was we will with you"


class TranscriptionService:
    """Text from a recording: from the speech server when there is one, else from its captions (WebVTT)."""

    def __init__(self, url, speech_url=""):
        self.cache = redis_client(url, socket_timeout=2, decode_responses=True)
        self.speech_url = speech_url
        self.http = requests.Session()
        self.cache.ping()

    def ping(self):
        self.cache.ping()

    def transcribe(self, recording):
        key = f"mediahost:transcript:{recording}"
        text = self.cache.get(key)
        if text is None:
            text = self._from_server(recording) if self.speech_url else self._from_captions(recording)
            self.cache.set(key, text, ex=3600)
        return text

    def _from_server(self, recording):
        with open(recording, "rb") as audio:
            answer = self.http.post(self.speech_url, data=audio, timeout=30)
        if answer.status_code != 200:
            raise TranscriptionFailed(f"the speech server answered {answer.status_code}")
        return answer.json()["text"]

    def _from_captions(self, recording):
        try:
            with open(recording, encoding="utf-8") as captions:
                lines = [line.strip() for line in captions]
        except OSError as error:
            raise TranscriptionFailed(f"the recording cannot be read: {error.strerror}") from error
        spoken = [line for line in lines if line and "-->" not in line and not line.isdigit() and line != "WEBVTT"]
        return " ".join(re.sub(r"<[^>]+>", "", line) for line in spoken)


class SummaryService:
    """The sentences that say most. Words that say nothing are kept in Redis, where the admins add theirs."""

    key = "mediahost:stop-words"

    def __init__(self, url, sentences=3):
        self.sentences = sentences
        self.redis = redis_client(url, socket_timeout=2, decode_responses=True)
        self.stop_words = set(STOP_WORDS.split()) | self.redis.smembers(self.key)

    def ping(self):
        self.redis.ping()

    def summarise(self, text):
        sentences = re.split(r"(?<=[.!?])\s+", text.strip())
        counts = Counter(self._words(text))
        weights = [sum(counts[word] for word in set(self._words(sentence))) for sentence in sentences]
        best = sorted(range(len(sentences)), key=lambda at: -weights[at])[: self.sentences]
        return " ".join(sentences[at] for at in sorted(best))

    def _words(self, text):
        return [word for word in re.findall(r"\w+", text.lower()) if word not in self.stop_words]


class QueueService:
    """Numbers of meetings that wait to be transcribed: a list in Redis."""

    key = "mediahost:queue"

    def __init__(self, url, limit=1000):
        self.limit = limit
        self.redis = redis_client(url, socket_timeout=2, decode_responses=True)
        self.redis.ping()

    def ping(self):
        self.redis.ping()

    def put(self, meeting_id):
        if self.size() >= self.limit:
            raise QueueUnavailable(f"{self.limit} meetings wait already")
        self.redis.lpush(self.key, meeting_id)
        app.send_task("core.tasks.drain_queue")

    def take(self, count=10):
        return [int(meeting_id) for meeting_id in self.redis.rpop(self.key, count) or ()]

    def size(self):
        return self.redis.llen(self.key)


@lazyguard.service(timeout=2.0, probe=TranscriptionService.ping, failures=("redis:RedisError",), recovery=SOON)
def get_transcription_service() -> TranscriptionService:
    from core.config import config

    return TranscriptionService(config.redis_url, config.speech_url)


@get_transcription_service.fallback
def _no_transcription() -> TranscriptionService:
    # Says that there is no text yet. Tasks are not served it, so that it is never kept.
    text = "(transcripts are not available at the moment)"
    return lazyguard.mock_service(TranscriptionService, returns={"ping": None, "transcribe": text})


@lazyguard.service(timeout=2.0, probe=SummaryService.ping, failures=("redis:RedisError",), recovery=SOON)
def get_summary_service() -> SummaryService:
    from core.config import config

    return SummaryService(config.redis_url, config.summary_sentences)


class PlainSummary(SummaryService):
    """What stands in: knows the built-in stop words only."""

    def __init__(self, sentences):
        self.sentences = sentences
        self.stop_words = set(STOP_WORDS.split())

    def ping(self):
        pass


@get_summary_service.fallback
def _plain_summary() -> SummaryService:
    from core.config import config

    return PlainSummary(config.summary_sentences)


@lazyguard.service(timeout=2.0, probe=QueueService.ping, failures=("redis:RedisError",), recovery=SOON)
def get_queue_service() -> QueueService:
    from core.config import config

    return QueueService(config.redis_url, config.queue_limit)


class ClosedQueue(QueueService):
    """What stands in: takes nothing and says so, since what it swallowed would be lost."""

    def __init__(self):
        pass

    def ping(self):
        pass

    def put(self, meeting_id):
        raise QueueUnavailable("the queue is closed at the moment")

    def take(self, count=10):
        raise QueueUnavailable("the queue is closed at the moment")

    def size(self):
        raise QueueUnavailable("the queue is closed at the moment")


@get_queue_service.fallback
def _closed_queue() -> QueueService:
    return ClosedQueue()


transcription_service = get_transcription_service()
summary_service = get_summary_service()
queue_service = get_queue_service()


def export(format="csv"):
    """All meetings and their texts as one CSV or JSON document."""
    frame = pd.DataFrame([meeting.to_dict() for meeting in Meeting.all()])
    if format == "json":
        return frame.to_json(orient="records")
    if format == "csv":
        return frame.to_csv(index=False)
    raise ValueError(f"meetings are exported as csv or json, not as {format!r}")
