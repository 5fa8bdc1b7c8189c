"""Artefact folders: refusal to mix runs, files whole or absent, damage found."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from influence.errors import StoreError
from influence.files import whole_file
from influence.store import arrays
from influence.store.arrays import allocate_arrays, map_arrays, write_arrays
from influence.store.artefact import claim, finish, open_complete, read_manifest, write_json
from influence.store.factors import load_tensors, save_tensors

CONFIG = {"damping": 0.1, "layers": ("a", "b"), "hessian": {"seed": 0, "model": "x"}}


def test_a_folder_is_claimed_resumed_and_finished(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    manifest = claim(folder, "scores", CONFIG)
    assert manifest["status"] == "running"
    assert claim(folder, "scores", CONFIG) == manifest  # resumed: tuples read back as lists are no difference
    with pytest.raises(StoreError, match="unfinished") as caught:
        open_complete(folder, "scores")
    assert "resumes" in str(caught.value.fix)
    finish(folder, manifest, {"seconds": 1})
    assert open_complete(folder, "scores") == {**manifest, "status": "complete", "provenance": {"seconds": 1}}
    assert claim(folder, "scores", CONFIG)["status"] == "complete"
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


def test_other_arguments_are_refused_and_named(tmp_path: Path) -> None:
    claim(tmp_path, "scores", CONFIG)
    changed = {"damping": 0.2, "layers": ["a"], "hessian": {"seed": 0, "model": "y"}, "windows": True}
    with pytest.raises(StoreError, match="made with other arguments") as caught:
        claim(tmp_path, "scores", changed)
    assert caught.value.have == (
        "damping: 0.1 there, 0.2 now; hessian.model: 'x' there, 'y' now; "
        "layers: ['a', 'b'] there, ['a'] now; windows: 'absent' there, True now"
    )
    assert "--out" in str(caught.value.fix)
    assert read_manifest(tmp_path) == claim(tmp_path, "scores", CONFIG)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    claim(tmp_path, "hessian", CONFIG)
    with pytest.raises(StoreError, match="holds a Hessian, not a score store"):
        claim(tmp_path, "scores", CONFIG)
    with pytest.raises(StoreError, match="holds a Hessian, not a score store"):
        open_complete(tmp_path, "scores")


def test_a_folder_of_other_files_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match="already holds other files"):
        claim(tmp_path, "scores", CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]
    with pytest.raises(StoreError, match="is a file"):
        claim(tmp_path / "thesis.tex", "scores", CONFIG)


def test_what_a_kill_left_of_the_first_write_is_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "manifest.json.part").write_text('{"kind": ')
    assert claim(tmp_path, "scores", CONFIG)["status"] == "running"


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "scores"}', "\x00"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    for call in (
        lambda: claim(tmp_path, "scores", CONFIG),
        lambda: open_complete(tmp_path, "scores"),
    ):
        with pytest.raises(StoreError, match=r"manifest\.json is not a manifest"):
            call()


def test_an_absent_folder_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no scores"):
        open_complete(tmp_path / "nowhere", "scores")


class Unwritable:
    """Fails to become JSON, or a tensor, half-way."""


def test_json_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": "ä"})
    with pytest.raises(TypeError):
        write_json(path, {"new": [1, 2, Unwritable()]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": "ä"}


def test_arrays_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"a": np.arange(3)})
    import safetensors.numpy

    def full(arrays: object, part: Path) -> None:
        part.write_bytes(b"half")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_arrays(path, {"a": np.arange(9)})
    assert caught.value.errno == 28
    assert str(caught.value.filename) == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
    np.testing.assert_array_equal(map_arrays(path)["a"], [0, 1, 2])


@pytest.mark.parametrize(
    "error", [RuntimeError("invalid"), OSError(5, "Input/output error"), KeyboardInterrupt()], ids=repr
)
def test_other_errors_stay_what_they_are_and_leave_nothing(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with whole_file(tmp_path / "x") as part:
            part.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        write()
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_allocated_arrays_have_their_place_on_the_disk(tmp_path: Path) -> None:
    """A file with holes would be killed by SIGBUS on a full disk, while it is filled."""
    path = tmp_path / "x.safetensors"
    allocate_arrays(path, {"dot": ((1000, 100), "F32")})
    assert path.stat().st_blocks * 512 >= 400_000


def test_arrays_round_trip_as_maps(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    arrays = {
        "dot": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        "norm": np.linspace(0, 1, 4),
        "empty": np.zeros((0, 3), np.float32),
    }
    write_arrays(path, arrays)
    found = map_arrays(path)
    assert isinstance(found["dot"], np.memmap)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="read-only"):
        found["dot"][0, 0] = 1


def test_allocated_arrays_are_zeros_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    allocate_arrays(path, {"dot": ((2, 3), "F32"), "norm": ((3,), "F64")})
    arrays = map_arrays(path, "r+")
    assert arrays["dot"].dtype == np.float32
    assert not arrays["dot"].any()
    arrays["dot"][:, 1] = 5
    arrays["norm"][:] = 7
    for array in arrays.values():
        array.flush()  # type: ignore[attr-defined]
    tensors = load_tensors(path)
    assert tensors["dot"].tolist() == [[0, 5, 0], [0, 5, 0]]
    assert tensors["norm"].tolist() == [7, 7, 7]


@pytest.mark.parametrize("kept", [0, 5, 60, 150, 400])
def test_a_truncated_file_is_a_store_error(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"dot": np.zeros((10, 10)), "norm": np.zeros(10)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StoreError, match=r"x\.safetensors cannot be read") as caught:
        map_arrays(path)
    assert "delete" in str(caught.value.fix)
    with pytest.raises(StoreError, match=r"x\.safetensors cannot be read"):
        load_tensors(path)


def test_a_missing_file_and_garbage_are_store_errors(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        map_arrays(tmp_path / "nothing.safetensors")
    with pytest.raises(StoreError, match="cannot be read"):
        load_tensors(tmp_path / "nothing.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        map_arrays(tmp_path / "x.safetensors")


def test_tensors_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from influence.store import factors

    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.ones(3)}, {"position": "4"})

    def dies(tensors: object, part: Path, metadata: object) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(factors, "save_file", dies)
    with pytest.raises(OSError, match="No space left"):
        save_tensors(path, {"a": torch.zeros(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
    assert load_tensors(path)["a"].tolist() == [1, 1, 1]


def test_every_dtype_a_store_writes_can_be_mapped(tmp_path: Path) -> None:
    for dtype in arrays._DTYPES.values():
        write_arrays(tmp_path / "x.safetensors", {"x": np.ones(3, dtype)})
        assert map_arrays(tmp_path / "x.safetensors")["x"].dtype == np.dtype(dtype)


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.warns(UserWarning, match="cannot be locked .No locks available"):
        manifest = claim(tmp_path / "run", "scores", CONFIG)
    finish(tmp_path / "run", manifest, {})
    assert open_complete(tmp_path / "run", "scores")["status"] == "complete"
