"""How results are shown: tables on the console, curves, and sheets of pictures."""
