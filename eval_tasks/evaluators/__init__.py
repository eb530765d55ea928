"""Measures and reports: arrays, strings and numbers in, rows out; no network is known here."""
