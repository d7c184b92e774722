"""The processes that do the work: media workers hold calls, the action worker speaks Graph."""
