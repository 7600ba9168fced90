"""Dictionaries out of the database as archives, and into another database."""
