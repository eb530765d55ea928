"""A network over large pictures on a device: tiles, strips, layers, memory and precision."""
