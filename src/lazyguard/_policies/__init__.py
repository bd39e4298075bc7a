"""The policies of a service: retry, breaker, fallback, recovery. Their options are checked when they are made."""
