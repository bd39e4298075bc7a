"""mediahost: meetings are recorded, transcribed and summarised."""

import lazyguard

__getattr__, __dir__, __all__ = lazyguard.attach(
    __name__,
    submod_attrs={
        "exceptions": ["MediaHostError", "MeetingNotFound", "QueueUnavailable", "TranscriptionFailed"],
        "tasks": ["app as celery_app"],
        "services": ["queue_service", "summary_service", "transcription_service"],
        "models": ["Meeting", "Transcript", "record_meeting"],
    },
)

lazyguard.prevent_duplicate_imports("core", action="alias")


@lazyguard.when_imported("celery")
def use_our_app(celery):
    """Whoever asks for the current application gets ours, also where nothing has imported core.tasks yet."""
    import core.tasks  # noqa: F401  (declares it, as Celery's default)
