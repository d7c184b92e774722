"""Alembic migrations of the table of call records."""
