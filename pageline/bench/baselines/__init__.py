"""What a user would write instead: whole programs to measure beside ours."""
