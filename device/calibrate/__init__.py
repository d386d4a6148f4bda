"""The steps of `wastebin calibrate`: each alone, again, and undone."""
