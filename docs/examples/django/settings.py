"""The settings of a Django shop: a cache, a database and a supplier's API, each of which may be away."""

import os

SECRET_KEY = "of an example"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
INSTALLED_APPS = ["lazyguard.integrations.django.App", "django.contrib.sessions", "shop"]
MIDDLEWARE = [
    "lazyguard.integrations.django.Middleware",  # first: a health check then needs no session
    "django.contrib.sessions.middleware.SessionMiddleware",
]
LAZYGUARD = {"timeout": 2.0, "timeout_header": "X-Request-Timeout"}
CACHES = {
    "default": {
        "BACKEND": "lazyguard.integrations.django.Cache",
        "LOCATION": os.environ["CACHE"],
        "OPTIONS": {
            "backend": "django.core.cache.backends.redis.RedisCache",
            "fallback": "django.core.cache.backends.locmem.LocMemCache",
            "timeout": 0.2,
            "breaker": {"open_time": 0.5, "max_open_time": 2.0},
        },
    }
}
DATABASES = {
    "default": {
        "ENGINE": "lazyguard.integrations.django_postgresql",  # no wait passes the deadline of the request
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": "127.0.0.1",
        "PORT": os.environ["PORT"],
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
LOGGING_CONFIG = None
