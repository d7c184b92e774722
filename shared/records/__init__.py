"""Where call records go: files of JSON lines, webhooks, databases; and what their rows and columns are."""
