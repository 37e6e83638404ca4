"""What agents keep for themselves."""
