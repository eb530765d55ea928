"""Runnable scripts that measure what the stage buys, each on an evaluator that knows no network."""
