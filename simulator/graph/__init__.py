"""Graph as the business meets it: one front for tokens, faults and errors, and one module for each edge of a Page."""
