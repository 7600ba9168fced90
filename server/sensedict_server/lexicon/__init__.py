"""Lexical relations, pure: reading them, deriving by negation, composing word senses (DSKD §3.2, §3.3)."""
