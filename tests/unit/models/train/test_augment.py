"""Distortions stay small, differ from image to image, and repeat with the generator."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.augment import Distortion  # noqa: E402


def images():  # type: ignore[no-untyped-def]
    blank = torch.zeros(6, 1, 8, 8)
    blank[..., 3:5, 3:5] = 16.0
    return blank


def distorted(distortion: Distortion, seed: int = 0):  # type: ignore[no-untyped-def]
    return distortion(images(), torch.Generator().manual_seed(seed))


def test_shape_dtype_and_range_stay() -> None:
    found = distorted(Distortion())
    assert (found.shape, found.dtype) == (images().shape, images().dtype)
    assert found.min() >= 0
    assert found.max() <= 16


def test_no_distortion_changes_nothing() -> None:
    assert torch.allclose(distorted(Distortion(0, 0, 0)), images(), atol=1e-4)


def test_each_image_is_distorted_differently() -> None:
    found = distorted(Distortion())
    assert all(not torch.equal(found[0], other) for other in found[1:])


def test_the_generator_decides() -> None:
    assert torch.equal(distorted(Distortion()), distorted(Distortion()))
    assert not torch.equal(distorted(Distortion(), 0), distorted(Distortion(), 1))


def test_a_shift_of_at_most_one_pixel_moves_the_centre_by_no_more() -> None:
    found = distorted(Distortion(0, 0, 1.0)).squeeze(1)
    at = torch.arange(8.0)
    centre = (found.sum(1) * at).sum(1) / found.sum((1, 2))
    assert ((centre - 3.5).abs() <= 1.05).all()
    assert ((centre - 3.5).abs() > 0.05).any()
