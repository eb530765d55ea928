"""Speed and memory of networks and stages, beside a peer's."""
