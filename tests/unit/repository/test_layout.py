"""M6: names lead to folders of the repository or nowhere, and one broken entry never hides the others."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.core.errors import BadModel, NotFound, Unavailable
from service.repository.layout import Repositories, Repository, SingleFile, Source
from service.repository.model_config import ModelConfig
from tests.unit.repository.onnx_models import WEIGHT
from tests.unit.repository.versions import PLAIN, WITH_EXTERNAL, write_version

HOSTILE = [
    *("", ".", "..", "../outside", "digits/../../outside", "/etc", "%2e%2e", "..%2foutside", "digits\0", "a\nb", "é"),
    *("A" * 300, ".hidden", "digits/1", "link"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    for version in ("1", "2", "10", "1-int8", "beta"):
        write_version(path / "digits" / version, card=True)
    write_version(path / "sst2" / "1")
    (path / "digits" / "model.yaml").write_text("max_batch_size: 8\n")
    return path


def link_to_outside(root: Path, outside: Path) -> None:
    write_version(outside.parent / "1")
    (root / "link").symlink_to(outside.parent)
    (root / "digits" / "link").symlink_to(outside.parent / "1")


# What there is


def test_lists_models_and_versions(root: Path) -> None:
    repository = Repository(root)
    assert repository.models() == ["digits", "sst2"]
    assert repository.versions("digits") == ["1", "1-int8", "2", "10", "beta"]


def test_lists_folders_only_and_none_that_is_hidden_or_a_link(root: Path, outside: Path) -> None:
    link_to_outside(root, outside)
    (root / ".git").mkdir()
    (root / "lost+found").mkdir()
    (root / "README.md").touch()
    (root / "digits" / ".3.tmp").mkdir()
    (root / "digits" / "notes").touch()
    repository = Repository(root)
    assert repository.models() == ["digits", "sst2"]
    assert repository.versions("digits") == ["1", "1-int8", "2", "10", "beta"]


def test_a_card_is_read_alone(root: Path) -> None:
    for source in (Repository(root), Repositories([root])):
        card = source.read_card("digits", "1-int8")
        assert card is not None and "model.onnx" in card.files
        assert source.read_card("sst2", "1") is None
        with pytest.raises(NotFound, match="no version '9'"):
            source.read_card("digits", "9")
    (root / "digits" / "2" / "card.json").write_text("{")
    with pytest.raises(BadModel, match=r"card\.json"):
        Repository(root).read_card("digits", "2")
    file = SingleFile(root / "digits" / "1" / "model.onnx")
    assert file.read_card("model", "1") is None
    with pytest.raises(NotFound):
        file.read_card("model", "2")


def test_what_is_published_later_is_seen_without_a_restart(root: Path) -> None:
    repository = Repository(root)
    write_version(root / "new" / "1")
    assert repository.models() == ["digits", "new", "sst2"]
    assert repository.read_version("new", "1").onnx == PLAIN


def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    assert Repository(tmp_path / "current").read_version("sst2", "1").onnx == PLAIN


def test_a_root_that_goes_away_holds_nothing(root: Path) -> None:
    repository = Repository(root)
    root.rename(root.with_name("gone"))
    assert repository.models() == []
    with pytest.raises(NotFound, match="There is no model 'digits'"):
        repository.versions("digits")


def test_a_root_that_cannot_be_listed_holds_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(root))

    repository = Repository(root)
    with monkeypatch.context() as broken:
        broken.setattr(os, "scandir", refuse)
        assert repository.models() == []
        with pytest.raises(BadModel, match=r"^digits cannot be listed: permission denied\.$"):
            repository.versions("digits")
    assert repository.models() == ["digits", "sst2"]


def test_a_root_must_be_there_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no folder"):
        Repository(tmp_path / "none")
    with pytest.raises(NotFound, match="There is no folder"):
        Repositories([tmp_path, tmp_path / "none"])


# Names


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_not_found_and_opens_nothing_outside(
    root: Path, outside: Path, opened: list[str], name: str
) -> None:
    link_to_outside(root, outside)
    repository = Repository(root)
    calls: list[Callable[[], object]] = [
        lambda: repository.versions(name),
        lambda: repository.read_config(name),
        lambda: repository.read_version(name, "1"),
        lambda: repository.read_version("digits", name),
    ]
    for call in calls:
        with pytest.raises(NotFound) as caught:
            call()
        sentence = str(caught.value)
        assert sentence.isprintable() and len(sentence) < 300 and str(root) not in sentence
    assert all(path == str(root) or path.startswith(f"{root}/") for path in opened)


def test_negative_control_the_links_lead_outside(root: Path, outside: Path) -> None:
    link_to_outside(root, outside)
    assert (root / "link" / "1" / "model.onnx").read_bytes() == PLAIN
    assert (root / "digits" / "link" / "model.onnx").read_bytes() == PLAIN


@pytest.mark.parametrize(
    ("model", "version", "sentence"),
    [
        ("digit", "1", "There is no model 'digit'; did you mean 'digits'?"),
        ("zebra", "1", "There is no model 'zebra'."),
        ("digits", "1-int4", "Model 'digits' has no version '1-int4'; did you mean '1-int8'?"),
        ("digits", "77", "Model 'digits' has no version '77'."),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(root: Path, model: str, version: str, sentence: str) -> None:
    for source in (Repository(root), Repositories([root])):
        with pytest.raises(NotFound) as caught:
            source.read_version(model, version)
        assert str(caught.value) == sentence


def test_a_file_where_a_folder_belongs_is_not_found(root: Path) -> None:
    (root / "file").touch()
    (root / "digits" / "3").touch()
    repository = Repository(root)
    with pytest.raises(NotFound):
        repository.versions("file")
    with pytest.raises(NotFound):
        repository.read_version("digits", "3")


def test_a_folder_that_cannot_be_opened_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def refusing(path: str, *args: object, **more: object) -> int:
        if path == "sst2":
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    repository = Repository(root)
    with pytest.raises(BadModel, match=r"^sst2 cannot be opened: permission denied\.$"):
        repository.read_version("sst2", "1")
    assert repository.read_version("digits", "1").onnx == PLAIN


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_model_is_not_said_to_be_absent_where_nothing_can_be_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    repository = Repositories([root])
    with monkeypatch.context() as short:
        short.setattr(os, "open", refuse)
        for read in (repository.versions, repository.read_config):
            with pytest.raises(Unavailable, match=r"^digits cannot be opened: .*; try again later$"):
                read("digits")
    assert repository.versions("digits")


def test_tools_get_the_path_of_a_version_that_need_not_be_there(root: Path) -> None:
    repository = Repository(root)
    assert repository.folder("digits", "3") == root / "digits" / "3"
    for model, version in (("..", "1"), ("digits", "../.."), ("a/b", "1")):
        with pytest.raises(NotFound):
            repository.folder(model, version)


# Configuration


def test_reads_the_models_configuration(root: Path) -> None:
    repository = Repository(root)
    assert repository.read_config("digits") == ModelConfig(max_batch_size=8)
    assert repository.read_config("sst2") == ModelConfig()


def test_a_broken_configuration_stops_no_other_model(root: Path) -> None:
    (root / "digits" / "model.yaml").write_text("max_batch: 8\n")
    for source in (Repository(root), Repositories([root])):
        assert source.models() == ["digits", "sst2"]
        assert source.versions("digits") == ["1", "1-int8", "2", "10", "beta"]
        assert source.read_config("sst2") == ModelConfig()
        with pytest.raises(BadModel, match=r"^digits/model\.yaml: unknown key 'max_batch'; did you mean"):
            source.read_config("digits")


def test_a_configuration_that_is_a_link_is_not_read(root: Path, outside: Path) -> None:
    (root / "sst2" / "model.yaml").symlink_to(outside)
    with pytest.raises(BadModel, match=r"^sst2 has no readable file 'model\.yaml'"):
        Repository(root).read_config("sst2")


def test_tritons_configuration_is_read_and_its_other_folders_are_no_versions(root: Path) -> None:
    (root / "sst2" / "warmup").mkdir()
    assert "warmup" in Repository(root).versions("sst2")
    (root / "sst2" / "config.pbtxt").write_text("max_batch_size: 8")
    assert Repository(root).read_config("sst2").max_batch_size == 8
    assert "warmup" not in Repository(root).versions("sst2")


# Versions


def test_reads_a_version(root: Path) -> None:
    found = Repository(root).read_version("digits", "1-int8")
    assert (found.model, found.version, found.onnx) == ("digits", "1-int8", PLAIN)
    assert found.card is not None


def test_a_broken_version_is_listed_and_stops_no_other(root: Path) -> None:
    (root / "digits" / "2" / "model.onnx").unlink()
    repository = Repository(root)
    assert "2" in repository.versions("digits")
    with pytest.raises(BadModel, match=r"^digits/2 lacks 'model\.onnx'"):
        repository.read_version("digits", "2")
    assert repository.read_version("digits", "1").onnx == PLAIN


def test_a_versions_size_is_bounded(root: Path) -> None:
    for source in (Repository(root, max_bytes=10), Repositories([root], max_bytes=10)):
        with pytest.raises(BadModel, match="more than the limit of 10"):
            source.read_version("sst2", "1")


# Several roots


def test_several_roots_are_one_and_the_first_wins(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_version(other / "digits" / "99")
    write_version(other / "cifar" / "1")
    both = Repositories([root, other])
    assert both.models() == ["cifar", "digits", "sst2"]
    assert both.hidden() == ["digits"]
    assert "99" not in both.versions("digits")
    assert both.read_version("cifar", "1").onnx == PLAIN
    assert both.read_config("digits").max_batch_size == 8
    assert Repositories([other, root]).versions("digits") == ["99"]
    with pytest.raises(NotFound, match="did you mean 'cifar'"):
        both.read_config("cifer")


def test_a_model_is_read_without_a_look_at_the_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repositories = Repositories([root])
    monkeypatch.setattr(Repository, "models", lambda _repository: pytest.fail("all models were listed"))
    assert repositories.read_config("digits").max_batch_size == 8
    assert repositories.versions("sst2") == ["1"]
    assert repositories.read_version("sst2", "1").onnx
    assert repositories.read_card("digits", "1-int8") is not None


def test_one_root_hides_nothing(root: Path) -> None:
    assert Repositories([root]).hidden() == []


# One file


def test_one_file_is_a_model(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "downloads", WITH_EXTERNAL)
    (folder / "model.onnx").rename(folder / "my net (1).onnx")
    single = SingleFile(folder / "my net (1).onnx")
    assert single.models() == ["my-net-1-"]
    assert single.versions("my-net-1-") == ["1"]
    assert single.read_config("my-net-1-") == ModelConfig()
    found = single.read_version("my-net-1-", "1")
    assert found.onnx == WITH_EXTERNAL and found.external == {"weights/w.bin": WEIGHT.tobytes()}
    assert found.card is None


def test_one_file_may_be_named_through_a_link_and_keeps_the_links_name(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "blobs")
    (tmp_path / "net.onnx").symlink_to(folder / "model.onnx")
    single = SingleFile(tmp_path / "net.onnx")
    assert single.models() == ["net"]
    assert single.read_version("net", "1").onnx == PLAIN


@pytest.mark.parametrize(("model", "version"), [("other", "1"), ("model", "2"), ("../model", "1")])
def test_one_file_is_only_itself(tmp_path: Path, model: str, version: str) -> None:
    single = SingleFile(write_version(tmp_path / "v") / "model.onnx")
    with pytest.raises(NotFound, match=r"^There is only version 1 of model 'model'\.$"):
        single.read_version(model, version)
    if model != "model":
        for call in (single.versions, single.read_config):
            with pytest.raises(NotFound):
                call(model)


def test_one_file_must_be_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(NotFound, match="There is no file"):
            SingleFile(path)


def test_one_file_that_goes_away_is_a_sentence(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v")
    single = SingleFile(folder / "model.onnx", max_bytes=1 << 20)
    (folder / "model.onnx").unlink()
    with pytest.raises(BadModel, match=r"^model has no readable file 'model\.onnx'"):
        single.read_version("model", "1")
    folder.rmdir()
    with pytest.raises(BadModel, match=r"^The folder of 'model\.onnx' cannot be opened\.$"):
        single.read_version("model", "1")


def test_all_three_are_sources(root: Path) -> None:
    sources: list[Source] = [Repository(root), Repositories([root]), SingleFile(root / "sst2" / "1" / "model.onnx")]
    assert [len(source.models()) for source in sources] == [2, 2, 1]


# Versions that another server runs


ELSEWHERE = "runner: {triton: {url: 'x:1'}}\n"


def test_a_model_that_runs_elsewhere_needs_no_version_folder(root: Path) -> None:
    (root / "far").mkdir()
    (root / "far" / "model.yaml").write_text(ELSEWHERE)
    for source in (Repository(root), Repositories([root])):
        assert source.versions("far") == ["1"]
        files = source.read_version("far", "1", None)
        assert (files.onnx, files.external, files.card, files.golden, files.facts) == (b"", {}, None, None, None)
        assert (files.bytes_total, files.quantised, files.steady) == (0, True, False)
        assert source.read_card("far", "1") is None
        with pytest.raises(NotFound):
            source.read_version("far", "2", None)


def test_the_folders_of_a_model_that_runs_elsewhere_are_its_versions(root: Path) -> None:
    (root / "digits" / "model.yaml").write_text(ELSEWHERE)
    (root / "digits" / "3").mkdir()
    repository = Repository(root)
    assert repository.versions("digits") == ["1", "1-int8", "2", "3", "10", "beta"]
    assert repository.read_version("digits", "3", None).facts is None
    assert repository.read_version("digits", "1", None).facts is None, "its model.onnx is not looked at"
    with pytest.raises(NotFound):
        repository.read_version("digits", "4", None)


def test_only_a_runner_makes_up_for_missing_versions(root: Path) -> None:
    (root / "empty").mkdir()
    repository = Repository(root)
    assert repository.versions("empty") == []
    (root / "empty" / "model.yaml").write_text("wrong: 1")
    assert repository.versions("empty") == []
    with pytest.raises(NotFound):
        repository.read_version("empty", "1")
