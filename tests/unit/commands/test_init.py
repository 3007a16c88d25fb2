"""`wetakd init`: whatever lies there, the study file that it writes is valid and reads it."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from wetakd.commands.main import commands
from wetakd.commands.study_template import study_name, study_text
from wetakd.common.errors import UserError
from wetakd.common.progress import QuietReporter
from wetakd.config.study_file import load_study_file
from wetakd.data.source_detection import summarise_images
from wetakd.stages.data_loading import load_data


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WETAKD_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def init(*words: str) -> Result:
    return CliRunner().invoke(commands, ["init", *words])


def picture(i: int, side: int, mode: str) -> Image.Image:
    pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def folder(root: str, num: int = 24, side: int = 20, mode: str = "RGB") -> None:
    for i in range(num):
        place = Path(root, "even" if i % 2 == 0 else "odd")
        place.mkdir(parents=True, exist_ok=True)
        picture(i, side + 4 * (i % 3), mode).save(place / f"{i}.png")


def parquet(path: str, image: str = "img", label: str = "label", plain: bool = False) -> None:
    stored = []
    for i in range(24):
        stream = io.BytesIO()
        picture(i, 32, "RGB").save(stream, "png")
        stored.append(stream.getvalue())
    images = pa.array(stored) if plain else pa.array([{"bytes": b, "path": None} for b in stored])
    columns = {"row": pa.array(range(24)), image: images, label: pa.array([i % 2 for i in range(24)])}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def loader() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((24, 12, 12), np.uint8), np.arange(24) % 2


def lay(case: str) -> list[str]:
    """Lay images out; returns the words for `wetakd init`."""
    if case == "folder":
        folder("photos")
        return ["photos"]
    if case == "folder with train and test":
        folder("photos/train")
        folder("photos/test")
        return ["photos/"]
    if case == "folders apart":
        folder("one")
        folder("two")
        return ["one", "--test", "two", "--name", "apart"]
    if case == "Parquet files":
        parquet("birds/train-0.parquet", "image", "y")
        parquet("birds/test-0.parquet", "image", "y")
        return ["birds"]
    if case == "Parquet files in a folder with brackets":
        parquet("birds [v1]/train-0.parquet", "image", "y")
        parquet("birds [v1]/test-0.parquet", "image", "y")
        return ["birds [v1]"]
    if case == "one Parquet file":
        parquet("birds.parquet", "picture", plain=True)
        return ["birds.parquet"]
    return [f"{__name__}:loader", "--name", "mine"] if case == "callable" else ["digits"]


@pytest.mark.parametrize(
    ("case", "file", "size", "has_test"),
    [
        ("folder", "photos.yaml", 24, False),
        ("folder with train and test", "photos.yaml", 24, True),
        ("folders apart", "apart.yaml", 24, True),
        ("Parquet files", "birds.yaml", None, True),
        ("Parquet files in a folder with brackets", "birds-v1.yaml", None, True),
        ("one Parquet file", "birds.yaml", None, False),
        ("callable", "mine.yaml", None, False),
        ("digits", "digits.yaml", None, False),
    ],
)
def test_what_it_writes_is_valid_and_reads_the_images(case: str, file: str, size: int | None, has_test: bool) -> None:
    told = init(*lay(case))
    assert told.exit_code == 0, told.exception
    assert told.output.endswith(f"Next: wetakd plan {file}\n")
    config = load_study_file(file)
    assert config.study.name == Path(file).stem
    assert config.transform.size == size
    assert (config.splits.test is None) == has_test
    dataset = load_data(config, QuietReporter())
    assert dataset.num_classes == (10 if case == "digits" else 2)
    assert min(len(dataset.splits.fit), len(dataset.splits.weigh), len(dataset.splits.test)) > 0


def test_grey_images_are_not_mirrored_and_grey_among_colour_becomes_colour() -> None:
    folder("scans", mode="L")
    assert summarise_images("scans").is_grey
    assert "flip: false" in study_text("scans", summarise_images("scans"), "scans", "scans.yaml")
    folder("mixed", num=20)
    picture(0, 20, "L").save("mixed/even/99.png")
    found = summarise_images("mixed")
    assert (found.is_grey, found.channels) == (False, "rgb")
    assert "flip: true" in study_text("mixed", found, "mixed", "mixed.yaml")


def test_a_path_with_signs_of_yaml_in_it_stays_what_it_is() -> None:
    folder("a: #b'\"{c}")
    told = init("a: #b'\"{c}", "--name", "odd", "--yes")
    assert told.exit_code == 0, told.exception
    assert load_study_file("odd.yaml").data.train == "a: #b'\"{c}"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere", "is no folder, no Parquet file"),
        ("empty", "holds neither Parquet files nor a sub-folder"),
        ("nowhere.parquet", "no such file"),
        ("no_such_module:load", "no_such_module"),
        ("bare.parquet", "no column of images"),
        ("vague.parquet", "which of"),
    ],
)
def test_what_cannot_be_read_gets_one_line(place: str, says: str) -> None:
    Path("empty").mkdir()
    pq.write_table(pa.table({"label": [0, 1]}), "bare.parquet")
    pq.write_table(pa.table({"img": [b"x"], "one": [0], "two": [1]}), "vague.parquet")
    told = init(place)
    assert isinstance(told.exception, UserError)
    assert says in str(told.exception)
    assert "\n" not in str(told.exception)


def test_without_a_terminal_it_asks_nothing_and_writes_over_nothing() -> None:
    told = init()
    assert "PLACE: is required" in str(told.exception)
    assert init("--yes").exit_code == 0
    Path("digits.yaml").write_text("mine")
    assert "is there already" in str(init("digits").exception)
    assert Path("digits.yaml").read_text() == "mine"
    assert init("digits", "--yes").exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--to", "."), "--to: '.' must be a file"),
        (("--to", "no/such/folder.yaml"), "folder that is there"),
        (("--name", "bad name"), "study.name"),
        (("--name", "a: b"), "study file 'a: b.yaml': is not valid YAML"),
    ],
)
def test_a_place_or_name_that_will_not_do_leaves_nothing_behind(words: tuple[str, ...], says: str) -> None:
    before = set(Path().iterdir())
    told = init("digits", "--yes", *words)
    assert isinstance(told.exception, UserError)
    assert says in str(told.exception)
    assert set(Path().iterdir()) == before


def test_a_name_holds_no_credentials() -> None:
    uri = "s3://AKIA1:s3cr3t@bucket/birds.parquet?access_key=AKIA2&secret_key=s3cr3t"
    assert study_name(uri) == "birds"
