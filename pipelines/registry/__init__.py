"""Registered models: what is there, how it comes in, is kept, loaded and taken elsewhere."""
