"""What a training sees: patches of pictures and of rendered text, degraded as web apps do."""
