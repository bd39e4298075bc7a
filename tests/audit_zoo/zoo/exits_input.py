"""Asks a question."""

answer = input("Are you sure? ")
