"""Synthetic pairs made while a network trains, from a pack: ``datasets=synth://PACK``."""
