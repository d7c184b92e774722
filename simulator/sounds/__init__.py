"""The sounds a test caller makes."""
