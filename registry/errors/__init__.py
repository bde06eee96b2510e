"""Every error that a user can cause or meet; each is a class that words itself and names a way out."""

from registry.errors.canonical import (
    ClassMismatch,
    CollidingNames,
    ContradictedTie,
    MixedNames,
    NamesTooDeep,
    NoTensors,
    ShapesDiffer,
    ShardedNames,
    TwoReadings,
    UnknownWrapper,
    WrongDeclaration,
)
from registry.errors.root import RegistryError

__all__ = [
    "ClassMismatch",
    "CollidingNames",
    "ContradictedTie",
    "MixedNames",
    "NamesTooDeep",
    "NoTensors",
    "RegistryError",
    "ShapesDiffer",
    "ShardedNames",
    "TwoReadings",
    "UnknownWrapper",
    "WrongDeclaration",
]
