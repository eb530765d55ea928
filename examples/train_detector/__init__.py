"""Does enhancement help a detector that is trained on it? A small trial on WIDER FACE.

    python -m examples.train_detector --data WIDER --steps 2000

from the repository root, with ``pip install ".[transforms,eval]"``. WIDER holds
``WIDER_val/images`` and, anywhere below it, the benchmark's ground truth as .mat files. Only its
val part has that, so its events are divided: three of four are trained on, the fourth is held out.

Pictures are reduced x4, and compressed if ``--jpeg`` is given. The same detector is trained from
scratch on each arm, with the same first weights, steps and order of pictures:

- reduced: the reduced picture, which the detector's own bilinear resizing enlarges x4;
- bicubic: enlarged x4 by plain bicubic interpolation before, to tell size from restoration;
- enhanced: enlarged x4 by the model before, through `preproc.EnhanceTransform` and its cache;
- original: the picture before it was reduced, as the limit of what this detector can do.

The detector sees every arm at the same size. Boxes are scored in px of the original.
"""
