"""How results are shown: tables on the console, and sheets of pictures."""
