"""Programs that measure the stage and its networks; run them from the repository root."""
