"""What is done to a picture before an engine sees it: the arms of an experiment."""
