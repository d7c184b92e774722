"""A stand-in for Meta: Graph's calls, signed webhooks, and a caller with real audio. It imports nothing of ours."""

from simulator.app import create_app
from simulator.server import main, running, serve
from simulator.settings import Settings

__all__ = ["Settings", "create_app", "main", "running", "serve"]
