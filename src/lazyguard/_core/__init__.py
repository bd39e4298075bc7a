"""The state machine under everything: cells, their flights, the generators that say what to do and their drivers."""
