"""Mirror images and shifts: whole pixels of the image itself, zeros from outside, equal for equal seeds."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.crop import MirrorAndShift  # noqa: E402


def _seeded(seed: int):  # type: ignore[no-untyped-def]
    return torch.Generator().manual_seed(seed)


def _images(n: int):  # type: ignore[no-untyped-def]
    return torch.arange(1, n * 3 * 8 * 8 + 1, dtype=torch.float32).reshape(n, 3, 8, 8)


def test_without_a_shift_every_image_is_itself_or_its_mirror_image_and_both_occur() -> None:
    images = _images(64)
    answers = MirrorAndShift(shift_pixels=0)(images, _seeded(0))
    same = (answers == images).flatten(1).all(1)
    mirrored = (answers == images.flip(3)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 16 < int(mirrored.sum()) < 48


def test_each_image_is_a_window_of_itself_with_zeros_around() -> None:
    shift = 2
    images = _images(32)
    answers = MirrorAndShift(shift_pixels=shift)(images, _seeded(1))
    found = set()
    for image, answer in zip(images, answers, strict=True):
        wide = torch.nn.functional.pad(image, (shift,) * 4)
        windows = {
            (down, across, mirrored): window.flip(2) if mirrored else window
            for down in range(2 * shift + 1)
            for across in range(2 * shift + 1)
            for mirrored in (False, True)
            for window in [wide[:, down : down + 8, across : across + 8]]
        }
        (place,) = [place for place, window in windows.items() if torch.equal(window, answer)]
        found.add(place[:2])
    assert len(found) > 8


def test_channels_stay_together_and_shape_and_dtype_are_kept() -> None:
    one = torch.rand(5, 1, 8, 6)
    answer = MirrorAndShift(1)(one.expand(5, 3, 8, 6), _seeded(2))
    assert (answer.shape, answer.dtype) == ((5, 3, 8, 6), torch.float32)
    assert torch.equal(answer[:, 0], answer[:, 2])


def test_equal_seeds_give_equal_images_and_others_do_not() -> None:
    images = _images(16)
    first, again, other = (MirrorAndShift()(images, _seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
