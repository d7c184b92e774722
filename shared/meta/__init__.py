"""Meta's wire types, in every documented spelling, as facts of ours."""
