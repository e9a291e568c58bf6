"""Real dual-pixel sets into versions."""
