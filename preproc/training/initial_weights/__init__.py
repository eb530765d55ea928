"""The weights that a training starts from: drawn, read, or grown from a smaller network's."""
