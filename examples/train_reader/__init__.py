"""Does enhancement help a reader trained on it? EasyOCR's, tuned on words as each arm shows them.

    python -m examples.train_reader --data ICDAR2013

from the repository root, with ``pip install ".[eval]"``. ICDAR2013 holds the word crops and labels
of its task 2.3, which are only read. The words that the recogniser is tuned on are rendered,
reduced x4, mostly saved as JPEG, and shown as each arm shows them:

- input: as they are, which EasyOCR enlarges to its 64 px by itself;
- bicubic x4: enlarged by plain bicubic interpolation before;
- the model: enlarged by it before.

The recogniser starts from EasyOCR's own weights on every arm, and sees the same words in the same
order. ``--keep`` leaves the tuned weights as safetensors, for ``load_state_dict`` of
``reader.recognizer``, or on CUDA of ``reader.recognizer.module``, where ``reader`` is an
``easyocr.Reader`` that was made with ``quantize=False``.
"""
