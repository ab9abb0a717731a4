"""Weights and state come back exactly; anything else is refused by name."""

import json
import pickle
import resource
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vsuda_cli.errors import VsudaError
from vsuda_cli.training import checkpoint


def network(width: int = 3, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.BatchNorm1d(width))


class Danger:
    """What a hostile pickle would do: leave a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_weights_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    saved, loaded = network(seed=1), network(seed=2)
    metadata = {"command": "seg-train", "settings": {"x": [1, 2.5]}, "name": "ä"}
    checkpoint.save_weights(path, {"segmenter": saved, "other": network(5)}, metadata)
    checkpoint.load_weights(path, {"segmenter": loaded})
    for key, value in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert checkpoint.load_metadata(path) == metadata


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "abcdef":
        models = {"one": network(), "two": network(4)}
        checkpoint.save_weights(tmp_path / name, models, {"epoch": 1, "command": "x", "z": {}})
    assert len({(tmp_path / name).read_bytes() for name in "abcdef"}) == 1


def test_models_that_share_weights_are_saved(tmp_path: Path) -> None:
    one = network()
    checkpoint.save_weights(tmp_path / "w", {"a": one, "b": one}, {})
    loaded = network(seed=5)
    checkpoint.load_weights(tmp_path / "w", {"b": loaded})
    assert torch.equal(loaded.state_dict()["0.weight"], one.state_dict()["0.weight"])


def test_weights_of_another_kind_or_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save_weights(path, {"generator": network()}, {})
    with pytest.raises(VsudaError, match=r"has no weights segmenter\.0\.bias"):
        checkpoint.load_weights(path, {"segmenter": network()})
    with pytest.raises(VsudaError, match="does not fit the network"):
        checkpoint.load_weights(path, {"generator": network(width=4)})


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_weights_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save_weights(path, {"m": network()}, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(VsudaError, match="is no whole weights file"):
        checkpoint.load_metadata(path)
    with pytest.raises(VsudaError, match="is no whole weights file"):
        checkpoint.load_weights(path, {"m": network()})


def test_foreign_and_missing_weights_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors", {"vsuda": json.dumps({})})
    (tmp_path / "text.safetensors").write_text("no weights at all " * 9)
    for name in ("foreign", "other"):
        with pytest.raises(VsudaError, match="was not written by vsuda"):
            checkpoint.load_metadata(tmp_path / f"{name}.safetensors")
    with pytest.raises(VsudaError, match="is no whole weights file"):
        checkpoint.load_metadata(tmp_path / "text.safetensors")
    with pytest.raises(VsudaError, match="does not exist"):
        checkpoint.load_metadata(tmp_path / "absent.safetensors")


def state(epoch: int) -> dict[str, Any]:
    values = {"tensor": torch.arange(5) * epoch, "sums": {"a": 0.1}, "order": [1, 2]}
    return {"format": checkpoint.FORMAT, "epoch": epoch, **values}


def test_state_comes_back_and_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    for epoch in (1, 2, 3):
        checkpoint.save_state(path, state(epoch))
    loaded = checkpoint.load_state(path)
    assert torch.equal(loaded.pop("tensor"), torch.arange(5) * 3)
    assert loaded == {k: v for k, v in state(3).items() if k != "tensor"}
    assert checkpoint.load_state(checkpoint.previous(path))["epoch"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


def test_a_failed_save_keeps_the_last_state(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save_state(path, state(1))
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        checkpoint.save_state(path, {**state(2), "function": lambda: 1})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.6, 0.95])
def test_a_truncated_state_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save_state(path, state(1))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(VsudaError, match=r"last\.pt: is no whole training state"):
        checkpoint.load_state(path)


def test_any_text_or_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        noise = torch.randint(0, 256, (40,), generator=generator, dtype=torch.uint8)
        path.write_bytes(bytes(noise.tolist()))
        with pytest.raises(VsudaError):
            checkpoint.load_state(path)


def test_code_in_a_state_is_refused_and_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "last.pt", tmp_path / "mark"
    torch.save({**state(1), "payload": Danger(mark)}, path)
    told = r"is no whole training state \(it holds something else than tensors and plain values\);"
    with pytest.raises(VsudaError, match=told):
        checkpoint.load_state(path)
    path.write_bytes(pickle.dumps(Danger(mark)))
    with pytest.raises(VsudaError, match=told) as refused:
        checkpoint.load_state(path)
    assert not mark.exists()
    # Not even with -vv is it advised to load the file in another way.
    assert "weights_only" not in "".join(traceback.format_exception(refused.value, chain=True))


def test_the_last_whole_state_is_found(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    assert checkpoint.load_last_state(path) == (None, None)
    for epoch in (1, 2):
        checkpoint.save_state(path, state(epoch))
    found, damage = checkpoint.load_last_state(path)
    assert (found or {})["epoch"] == 2
    assert damage is None
    path.write_bytes(path.read_bytes()[:300])
    found, damage = checkpoint.load_last_state(path)
    assert (found or {})["epoch"] == 1
    assert str(path) in str(damage)
    before = checkpoint.previous(path)
    before.write_text("")
    with pytest.raises(VsudaError, match="; --force starts anew") as refused:
        checkpoint.load_last_state(path)
    assert all(f"{one}: is no whole" in str(refused.value) for one in (path, before))


@pytest.mark.parametrize("foreign", [{"epoch": 1}, [1, 2], {"format": "vsuda-0"}])
def test_a_foreign_state_is_refused(tmp_path: Path, foreign: object) -> None:
    torch.save(foreign, tmp_path / "last.pt")
    with pytest.raises(VsudaError, match="was not written by vsuda"):
        checkpoint.load_state(tmp_path / "last.pt")


def test_a_full_disk_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save_state(path, {"format": checkpoint.FORMAT, "value": 1})
    before = path.read_bytes()
    opened = Path.open

    def full(self: Path, mode: str = "r") -> Any:
        return opened(Path("/dev/full") if mode == "wb" else self, mode, buffering=0)

    monkeypatch.setattr(Path, "open", full)
    told = r"last\.pt: cannot be written \(No space left on device\); check space and permissions"
    with pytest.raises(VsudaError, match=told):
        checkpoint.save_state(path, {"large": torch.zeros(100_000)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def small_files_only() -> Iterator[None]:
    """Inside, and not for a whole test: its report may go to a file that is larger already."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["epoch-0001.safetensors", "last.pt"])
def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(
    tmp_path: Path, name: str
) -> None:
    def save(width: int) -> None:
        if name == "last.pt":
            checkpoint.save_state(tmp_path / name, {"large": torch.zeros(width)})
        else:
            checkpoint.save_weights(tmp_path / name, {"m": network(width)}, {})

    save(3)
    before = (tmp_path / name).read_bytes()
    told = rf"{name}: cannot be written \(File too large.*\); check space and permissions"
    with pytest.raises(VsudaError, match=told), small_files_only():
        save(10_000)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]
