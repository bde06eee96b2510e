"""The calls of Hugging Face's clients, answered from a home: what is read, and what is pushed.

A model is a repository. Its branch ``main`` is the newest version with the card, ``vN`` and aliases are its tags, and a
commit is a version together with a card: nothing of git is stored.
"""
