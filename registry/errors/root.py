"""The root of the error tree."""


class RegistryError(Exception):
    """The root of every error that a user can cause or meet.

    The message is one paragraph: what is wrong, then what to do about it.
    """
