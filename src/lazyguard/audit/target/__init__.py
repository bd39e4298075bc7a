"""What runs in the audited interpreter, without lazyguard."""
