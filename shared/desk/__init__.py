"""The desk, where agents take calls: who has it open, who waits for them (`floor`), and who they are (`accounts`)."""
