"""Progress: a line now and then where nobody watches, bars where somebody does, and a terminal left in order."""

import io

import pytest
from rich.console import Console

from models.progress import LINE_EVERY_S, Bars, Lines, progress_on


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def test_a_pipe_gets_lines_and_a_terminal_bars(screen: io.StringIO) -> None:
    assert isinstance(progress_on(Console(file=screen)), Lines)
    assert isinstance(progress_on(Console(file=screen, force_terminal=True)), Bars)


def test_lines_tell_of_the_start_the_end_and_what_lies_between_only_now_and_then(screen: io.StringIO) -> None:
    clock = Clock()
    with Lines(Console(file=screen, width=200), clock).task("training", 100) as step:
        for epoch in range(100):
            clock.now_s += LINE_EVERY_S / 4
            step(f"loss {epoch}")
    told = screen.getvalue().splitlines()
    assert told[0] == "training: begins, 100 steps"
    assert told[1] == "training: 4 of 100  loss 3"
    assert told[-1] == "training: done in 250 s  loss 99"
    assert len(told) == 2 + 25


def test_quick_steps_are_not_told_of(screen: io.StringIO) -> None:
    with Lines(Console(file=screen), Clock()).task("training", 1000) as step:
        for _ in range(1000):
            step("loss")
    assert len(screen.getvalue().splitlines()) == 2


def test_a_broken_off_task_is_not_said_to_be_done(screen: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt), Lines(Console(file=screen), Clock()).task("training", 10):
        raise KeyboardInterrupt
    assert "done" not in screen.getvalue()


def test_words_in_brackets_are_shown_as_they_are(screen: io.StringIO) -> None:
    with Lines(Console(file=screen, width=200), Clock()).task("a [bold] name", 1) as step:
        step("[n, 1, 8, 8]")
    assert "a [bold] name: done in 0 s  [n, 1, 8, 8]" in screen.getvalue()


def test_a_bar_shows_figures_and_leaves_one_line(screen: io.StringIO) -> None:
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with Bars(console).task("training", 3) as step:
        for epoch in range(3):
            step(f"loss {epoch}")
    assert "training: done in 0 s  loss 2" in screen.getvalue()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1


def test_an_interrupted_bar_shows_the_cursor_again(screen: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt), Bars(Console(file=screen, force_terminal=True)).task("training", 3):
        raise KeyboardInterrupt
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1
    assert "done" not in screen.getvalue()


def test_bars_within_bars_and_one_after_another(screen: io.StringIO) -> None:
    bars = Bars(Console(file=screen, force_terminal=True, width=120, color_system=None))
    with bars.task("outer", 1) as outer:
        with bars.task("inner", 1) as inner:
            inner("a")
        outer("b")
    with bars.task("next", 1) as following:
        following("c")
    told = screen.getvalue()
    assert [name for name in ("outer", "inner", "next") if f"{name}: done" in told] == ["outer", "inner", "next"]
    assert told.rindex("\x1b[?25h") > told.rindex("\x1b[?25l")
