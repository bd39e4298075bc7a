"""The policies of a service, each one thing: retry, breaker, fallback, recovery. Options are checked when made."""
