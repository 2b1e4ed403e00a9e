"""Neighbours and cosines by hand, and held against scikit-learn's."""

import numpy as np
import pytest

from models.evaluate.embedding import compare, cosines, label_recall, nearest

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def clustered(n: int = 400, seed: int = 0) -> tuple[Array, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, n)
    return rng.standard_normal((5, 24))[labels] * 2 + rng.standard_normal((n, 24)), labels


def test_neighbours_by_hand() -> None:
    vectors = np.array([[1, 0], [2, 0.1], [0, 1], [-0.1, 3]])
    assert nearest(vectors).tolist() == [1, 0, 3, 2]
    assert label_recall(vectors, np.array([0, 0, 1, 0])) == 0.5


def test_neighbours_are_scikit_learns_across_blocks() -> None:
    neighbours = pytest.importorskip("sklearn.neighbors", reason="scikit-learn is not installed")
    vectors, _ = clustered(1300)
    found = neighbours.NearestNeighbors(n_neighbors=2, metric="cosine", algorithm="brute").fit(vectors)
    assert np.array_equal(nearest(vectors), found.kneighbors(vectors, return_distance=False)[:, 1])


def test_a_row_is_not_its_own_neighbour_even_with_a_twin() -> None:
    assert nearest(np.array([[1.0, 0], [1, 0], [0, 1]])).tolist() == [1, 0, 0]


def test_length_does_not_matter_and_more_axes_are_one_vector() -> None:
    vectors, _ = clustered(50)
    assert np.array_equal(nearest(vectors), nearest(vectors * np.linspace(1, 9, 50)[:, None]))
    assert np.array_equal(nearest(vectors), nearest(vectors.reshape(50, 4, 6)))
    assert np.allclose(cosines(vectors, 3 * vectors), 1)


def test_a_row_that_is_not_finite_is_near_nothing() -> None:
    vectors = np.array([[1.0, 0], [np.nan, 1], [1, 0.1]])
    assert cosines(vectors, vectors).tolist() == pytest.approx([1, 0, 1])
    assert nearest(vectors).tolist()[0] == 2


def test_the_same_vectors_keep_every_neighbour() -> None:
    vectors, labels = clustered()
    found = compare(vectors, vectors, labels)
    assert (found.cosine_mean, found.cosine_p01) == pytest.approx((1, 1))
    assert (found.neighbour_recall, found.neighbour_recall_lower_95, found.label_recall_delta) == (1, 1, 0)
    assert found.full_label_recall == label_recall(vectors, labels)


def test_noise_is_seen_in_every_figure() -> None:
    vectors, labels = clustered()
    rng = np.random.default_rng(1)
    little, much = (compare(vectors, vectors + s * rng.standard_normal(vectors.shape), labels) for s in (0.05, 2.0))
    for name in ("cosine_mean", "cosine_p01", "neighbour_recall", "label_recall_delta"):
        assert getattr(little, name) > getattr(much, name)
    assert much.neighbour_recall_lower_95 < much.neighbour_recall < much.neighbour_recall_upper_95
    assert much.label_recall_lower_95 is not None
    assert much.label_recall_upper_95 is not None
    assert much.label_recall_delta is not None
    assert much.label_recall_lower_95 < much.label_recall_delta < much.label_recall_upper_95


def test_without_labels_there_is_no_recall_by_them() -> None:
    vectors, _ = clustered(60)
    found = compare(vectors, vectors, None)
    assert (found.full_label_recall, found.label_recall_delta, found.label_recall_lower_95) == (None, None, None)


@pytest.mark.parametrize(("a", "b"), [((1, 4), (1, 4)), ((5, 4), (5, 3))])
def test_what_cannot_be_compared_is_refused(a: tuple[int, int], b: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(np.ones(a), np.ones(b), None)
