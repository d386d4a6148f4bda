"""The bin: camera -> gate -> classify -> decide -> route -> drive -> events."""

__version__ = "0.1.0"
