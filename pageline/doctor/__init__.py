"""`pageline doctor`: what stands between a Page and its first call, in the order in which a newcomer meets it.

It looks, and with `--fix` repairs what can be repaired at Meta. It gates nothing, and what it meets feeds no breaker.
"""
