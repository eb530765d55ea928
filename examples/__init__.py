"""Programs that show the stage at work; run them from the repository root."""
