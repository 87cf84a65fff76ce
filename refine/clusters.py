"""Groups of vectors that lie together: k-means. The one module of `refine` that computes with arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Vectors: TypeAlias = Sequence[Sequence[float]]
"""n × d; n of them, each of the same length. A numpy array is one."""


def clusters(vectors: Vectors, count: int, seed: int) -> list[list[int]]:
    """At most `count` groups of indices, the largest first, those nearest to the group's middle first.

    k-means with k-means++ seeding (Arthur & Vassilvitskii 2007) over the vectors without their mean and at
    length 1, so that distance is angle: a model's states have one large direction in common, which tells
    nothing apart. Equal vectors fall into one group. The same for the same arguments.
    """
    import numpy as np
    from scipy.cluster.vq import kmeans2

    points = np.asarray(vectors, dtype=np.float64)
    points = points - points.mean(axis=0)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    # k-means++ cannot draw more middles than there are different points.
    count = min(count, len(np.unique(points.round(9), axis=0)))
    middles, labels = kmeans2(
        points, count, iter=30, minit="++", missing="warn", rng=np.random.default_rng(seed)
    )
    distances = np.linalg.norm(points - middles[labels], axis=1).round(9)
    groups = [
        sorted(np.flatnonzero(labels == one).tolist(), key=lambda place: (distances[place], place))
        for one in range(count)
    ]
    return sorted((group for group in groups if group), key=lambda group: (-len(group), group[0]))
