"""Adapters that put an enhancer in front of other people's engines, one engine a file.

Each imports its engine only when used and knows the enhancer as a callable with a scale, nothing of
networks or tiles: ``integrations.protocols`` says what is asked of both sides. With
``integrations.view``, an adapter for another engine is a dozen lines::

    class Reader:
        def __init__(self, engine, *, enhancer=None):
            self.engine, self.enhancer = engine, enhancer

        def readtext(self, image):
            view = look(image, self.enhancer)
            return [
                Word(view.to_source(corners).tolist(), text, confidence)
                for corners, text, confidence in self.engine(view.rgb)
            ]
"""
