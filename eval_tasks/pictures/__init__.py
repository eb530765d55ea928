"""Pictures that experiments start from, and how they are degraded."""
