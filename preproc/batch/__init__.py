"""Many pictures: which are meant, what is written where, and the run itself."""
