"""`pageline bench storm`: thousands of calls in disorder while processes are killed; nothing lost, never twice.

Everything is real: `web`, `media` and `action` as the Procfile starts them, several of each, over an embedded Valkey
with an append-only file; a Graph over the network that keeps its own record. The verdict is found from outside. What
the storm covers and what it does not: docs/performance.md.
"""
