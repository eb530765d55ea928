"""The stage in torchvision pipelines, with boxes and masks that move, and a cache across epochs."""
