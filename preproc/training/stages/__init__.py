"""One stage of a training: its run, what it leaves in its folder, and how it is gone on with."""
