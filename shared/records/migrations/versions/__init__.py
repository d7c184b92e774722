"""One module for each step that the table took; what is here is never edited."""
