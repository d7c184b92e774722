"""Handlers that come with pageline, written as a user would write them: they import `pageline` only."""
