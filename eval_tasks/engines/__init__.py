"""OCR engines and face detectors, and what they found, kept on disk."""
