"""The pure heart: what happened to a call (facts), what must be done (orders), and how one follows from the other."""
