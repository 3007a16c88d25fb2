"""The blocks `data`, `splits`, `transform` and `views`: from stored images to what networks see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FiniteFloat

from wetakd.config.field_types import Fraction, Model, Plain, Positive, Seed, Switch, Text


def _one_or_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


PathList = Annotated[tuple[Text, ...], BeforeValidator(_one_or_list), Field(min_length=1)]


class DigitsData(Model):
    """scikit-learn's 1,797 grey 8x8 digits; has no test set of its own."""

    source: Literal["digits"] = "digits"
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many images")


class CifarData(Model):
    """CIFAR-10 or CIFAR-100 through torchvision."""

    source: Literal["cifar10", "cifar100"]
    root: Text = Field("data", description="folder that holds torchvision's files")
    download: Switch = Field(False, description="fetch the files where they are missing (needs a network)")
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of train")
    max_test_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of test")


class ParquetData(Model):
    """Parquet in the Hugging Face layout: an image struct with `bytes` and an integer label."""

    source: Literal["parquet"]
    train: PathList = Field(description="files, globs or URIs that pyarrow opens; a path that exists is not a glob")
    test: PathList | None = Field(None, description="the same for the test set; without it, `splits.test` cuts one")
    image_column: str = Field("img", description="column of structs with a `bytes` field, or of bytes")
    label_column: str = Field("label", description="column of integer class labels")
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of train")
    max_test_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of test")


class FolderData(Model):
    """An image folder: one sub-folder a class."""

    source: Literal["folder"]
    train: Text = Field(description="folder with one sub-folder a class")
    test: Text | None = Field(None, description="the same for the test set; without it, `splits.test` cuts one")
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of train")
    max_test_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of test")


class CallableData(Model):
    """Your own loader: returns `(images, labels)` or `(images, labels, test_images, test_labels)`."""

    source: Literal["callable"]
    callable: str = Field(pattern=r"^[\w.]+:\w+$", description="`package.module:function`")
    options: Mapping[str, Plain] = Field({}, description="keyword arguments of the function")


DataConfig = Annotated[DigitsData | CifarData | ParquetData | FolderData | CallableData, Field(discriminator="source")]


class SplitsConfig(Model):
    """How the images are divided. `fit` is what remains of the training images."""

    weigh: Fraction = Field(0.1, description="share of the training images that fits the ensemble weights")
    choose: Fraction = Field(0.1, description="share of the training images that chooses the winner")
    test: Fraction | None = Field(None, description="share of all images, where the source has no test set")
    seed: Seed = Field(0, description="seed of the stratified draw")


class TransformConfig(Model):
    """From a stored image to a network's input; used alike by training and by the exported student."""

    size: Annotated[tuple[int, int], Field()] | Annotated[int, Field(ge=4, le=1024)] | None = Field(
        None, description="height and width in pixels (one number: square); without it all images must agree"
    )
    channels: Literal["grey", "rgb", "keep"] = Field("keep", description="`keep` takes what the first image has")
    background: Annotated[int, Field(ge=0, le=255)] = Field(255, description="grey level behind transparent pixels")
    mean: tuple[FiniteFloat, ...] | Literal["auto"] = Field(
        "auto", description="per channel in 0..1; `auto`: of split fit"
    )
    std: tuple[Positive, ...] | Literal["auto"] = Field("auto", description="per channel in 0..1; `auto`: of split fit")


class ViewsConfig(Model):
    """Augmentation as numbered views: the same pixels for teacher, assistants and student."""

    num: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="views a sample; view 0 is the clean image")
    flip: Switch = Field(False, description="views 1.. may be mirrored left to right")
    crop_padding: Annotated[int, Field(ge=0, le=64)] = Field(0, description="pixels of zero padding to crop from")
    seed: Seed = Field(0, description="seed of the draw")
