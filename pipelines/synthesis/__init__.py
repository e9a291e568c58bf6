"""Synthetic dual-pixel pairs into versions."""
