"""The dashboard: what a bin shows to the people around it, and what they may tell it; see `wire`."""
