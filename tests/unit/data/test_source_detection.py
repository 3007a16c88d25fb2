"""Which source reads what lies at a path."""

from pathlib import Path

from PIL import Image

from wetakd.data.source_detection import detect_source


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "car", "train"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "one.png")
    assert detect_source(str(tmp_path)) == {"source": "folder", "train": str(tmp_path)}
