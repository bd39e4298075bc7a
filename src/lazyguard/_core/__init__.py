"""The state machine under everything: cells, their attempts, the generators that say what to do and their drivers."""
