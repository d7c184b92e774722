"""Standard Webhooks, for handlers that tell others of what they did."""

from shared.standard_webhooks import key_of, signed

__all__ = ["key_of", "signed"]
