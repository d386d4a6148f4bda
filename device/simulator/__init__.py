"""A bin without hardware: what is thrown in, how it looks to a camera, and what truly happened."""
