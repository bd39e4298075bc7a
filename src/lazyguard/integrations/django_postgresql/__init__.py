"""Django's database backend for PostgreSQL, whose waits end with the deadline: the ENGINE of an entry of DATABASES."""
