"""Adapters that put an enhancer in front of other people's engines, one engine a file.

Each imports its engine only when used and knows the enhancer as a callable with a scale, nothing of
networks or tiles: ``integrations.protocols`` says what is asked of both sides. With
``integrations.view``, an adapter for another engine is a dozen lines; README.md has them, under
"Another engine".
"""
