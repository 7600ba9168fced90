"""The schema's history, as alembic revisions; `sensedict_server.schema` applies them."""
