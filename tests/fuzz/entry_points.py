"""What is called with mutated input, one function per entry point: (generator, folder) -> None, or an error.

A function writes its input into the folder. It may raise what `hrpose.cli` prints as one line, see `is_clear`.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random

import seeds
import torch
from mutations import mutate_bytes, mutate_json, mutate_value

from hrpose.annotations.converters import convert_labels
from hrpose.annotations.detections import read_image_boxes
from hrpose.annotations.reader import read_annotations, read_detections
from hrpose.cli.arguments import parse
from hrpose.cli.jobs import explains_itself
from hrpose.config import ConfigError, check, compose
from hrpose.config.overrides import expand_sweep
from hrpose.errors import DataError
from hrpose.estimator.from_weights import read_parts
from hrpose.export import ExportRecord
from hrpose.media.images import read_image, read_size
from hrpose.media.load import load_image
from hrpose.media.source import find_media
from hrpose.metrics.results import read_results, read_scored_results
from hrpose.tasks.predict.files import PredictionFiles, read_earlier
from hrpose.tasks.provenance import _overrides_of
from hrpose.weights import load_weights

EntryPoint = Callable[[Random, Path], None]
_LONGEST = 20_000  # characters of a message


def is_clear(error: BaseException, folder: Path, *, names_file: bool) -> bool:
    """Check whether an error is one that a user can act on: of this library, short, and with the file if it is about one."""
    text = str(error)
    named = not names_file or folder.name in text
    return isinstance(error, ValueError) and explains_itself(error) and len(text) < _LONGEST and named


def annotations(rng: Random, folder: Path) -> None:
    """COCO annotation files."""
    file = folder / "gt.json"
    file.write_bytes(mutate_json(rng.choice(_coco()), rng))
    found = read_annotations(file)
    found.skeleton()
    found.instances()


def boxes(rng: Random, folder: Path) -> None:
    """Detections and box files of `test` and `predict`."""
    file, names = folder / "boxes.json", folder / "gt.json"
    names.write_text(json.dumps(seeds.coco_file()))
    if rng.random() < 0.3:
        file.write_bytes(mutate_json(seeds.coco_file(), rng))
        read_image_boxes(None, file)
        return
    file.write_bytes(mutate_json(seeds.detections(), rng))
    first = None
    for call in (lambda: read_detections(file, read_annotations(names)), lambda: read_image_boxes(names, file)):
        try:
            call()
        except ValueError as error:
            first = error
    if first is not None:
        raise first


def results(rng: Random, folder: Path) -> None:
    """Result files of `evaluate`."""
    truth, file = folder / "gt.json", folder / "res.json"
    truth.write_text(json.dumps(seeds.coco_file()))
    file.write_bytes(mutate_json(seeds.results(), rng))
    read_scored_results(file, read_annotations(truth).ground_truth())
    read_results(file, read_annotations(truth).ground_truth())


def weights(rng: Random, folder: Path) -> None:
    """Weight files of torch and safetensors, byte by byte."""
    name, content = rng.choice(sorted(_weights().items()))
    file = folder / name
    file.write_bytes(mutate_bytes(content, rng))
    load_weights(_net(), file, keypoint_names=seeds.COCO.keypoint_names, fresh_head=rng.random() < 0.5)


def tensors(rng: Random, folder: Path) -> None:
    """Weight files whose tensors, names and containers are of other kinds."""
    state = {"conv1.weight": torch.ones(4, 3, 3, 3), "final_layer.weight": torch.ones(17, 4, 1, 1)}
    odd = (
        *(
            torch.ones(4, 3, 3, 3, dtype=kind)
            for kind in (torch.int8, torch.complex64, torch.float64, torch.bool, torch.bfloat16)
        ),
        *(torch.full((17, 4, 1, 1), torch.nan), torch.ones(0), torch.ones(10**6, 0), torch.ones(1).expand(4, 3, 3, 3)),
        *(torch.ones(1).expand(10**9), torch.ones(2, 2).to_sparse(), torch.ones(3, device="meta"), torch.ones(())),
        *(7, "x", None, [torch.ones(2)], {"a": torch.ones(2)}, -1.5, torch.Size([2]), torch.float32),
    )
    for _ in range(rng.randint(1, 2)):
        state[rng.choice([*state, "module.conv1.weight", "backbone.x", "", "a" * 3000, "net._orig_mod.final_layer.bias"])] = (
            rng.choice(odd)
        )  # type: ignore[assignment]  # of any kind
    wrapped = rng.choice((state, {"state_dict": state}, {"model": state, "epoch": 3}, [state], {"state_dict": [1], "x": state}))
    torch.save(wrapped, folder / "odd.pth")
    load_weights(_net(), folder / "odd.pth", keypoint_names=seeds.COCO.keypoint_names, fresh_head=rng.random() < 0.5)


def stored_config(rng: Random, folder: Path) -> None:
    """The configuration in a checkpoint."""
    stored, builds = mutate_value(seeds.stored_config(), rng), rng.random() < 0.1  # which takes most of the time
    with io.BytesIO() as stream:
        torch.save({"state_dict": _state() if builds else _few(), "hyper_parameters": stored}, stream)
        (folder / "a.ckpt").write_bytes(stream.getvalue())
    read_parts(folder / "a.ckpt", model=None if builds else _net())


def record(rng: Random, folder: Path) -> None:
    """The record in an exported file."""
    text = mutate_json(json.loads(_record()), rng).decode("utf-8", "replace")
    ExportRecord.from_json(text, str(folder / "a.onnx"))


def arguments(rng: Random, folder: Path) -> None:
    """Overrides and flags of the command line; one of a hundred is composed and checked."""
    verb = rng.choice(("fit", "test", "predict", "export", "evaluate", "convert"))
    texts = [mutate_bytes(rng.choice(_ARGUMENTS).encode(), rng).decode("utf-8", "replace") for _ in range(rng.randint(1, 4))]
    command = parse(verb, texts)
    expand_sweep(command.overrides)
    (folder / ".hydra").mkdir(exist_ok=True)
    (folder / ".hydra" / "overrides.yaml").write_bytes(mutate_bytes(b"- optim.lr=1e-3\n- name=${oc.env:HOME}\n", rng))
    _overrides_of(folder / "checkpoints" / "a.ckpt")
    if rng.random() < 0.01:
        with suppress(ConfigError):
            compose(verb, command.overrides)
        check(verb, command.overrides)


def images(rng: Random, folder: Path) -> None:
    """Image files of every format."""
    file = folder / "image.jpg"
    file.write_bytes(mutate_bytes(rng.choice(_images()), rng))
    with suppress(DataError):
        read_size(file, upright=True)
    with suppress(DataError):
        read_image(file, num_rows=4)
    load_image(file)


def sources(rng: Random, folder: Path) -> None:
    """Sources of `predict`: paths, patterns, addresses, and what is no image."""
    (folder / "a.png").write_bytes(_images()[1])
    text = rng.choice((f"{folder}/a.png", f"{folder}/*.png", f"{folder}/**/*", "rtsp://a:b@c/d", "file:///x", "camera", "0"))
    text = mutate_bytes(text.encode(), rng).decode("utf-8", "replace") + rng.choice(("", "", "x" * 5000, "\0", "/" * 5000))
    first = None
    for call in (find_media, load_image):
        try:
            call(text)
        except ValueError as error:
            first = error
    if first is not None:
        raise first


def stopped_run(rng: Random, folder: Path) -> None:
    """The files from which `predict resume=true` goes on."""
    skeleton = _skeleton()
    with PredictionFiles(folder, skeleton, settings={"weights": "a"}, earlier=[]) as files:
        for number in (1, 2, 3):
            row = {"image_id": number, "category_id": 1, "keypoints": [1.5] * 9, "score": 0.5}
            files.add({"id": number, "file_name": f"{number}.png"}, [row, row])
    for name in ("images.json", "poses.json"):
        if rng.random() < 0.7:
            (folder / name).write_bytes(mutate_bytes((folder / name).read_bytes(), rng))
    read_earlier(folder, {"weights": "a"})


def labels(rng: Random, folder: Path) -> None:
    """Labels of annotation tools."""
    project = rng.choice(_labels())
    (folder / "a.png").write_bytes(_images()[1])
    chosen = rng.choice([name for name in project if not name.endswith(".png")])
    for name, text in project.items():
        (folder / name).parent.mkdir(exist_ok=True)
        content = text.encode() if not name.endswith(".png") else _images()[1]
        if name == chosen:
            as_json = name.endswith(".json") and rng.random() < 0.8
            content = mutate_json(json.loads(text), rng) if as_json else mutate_bytes(content, rng)
        (folder / name).write_bytes(content)
    convert_labels(folder / next(iter(project)), out=folder / "out", split=0)


ENTRY_POINTS: dict[str, tuple[EntryPoint, bool]] = {  # and whether its messages have to name the file
    **{function.__name__: (function, True) for function in (annotations, boxes, results, weights, tensors, stored_config)},
    **{function.__name__: (function, True) for function in (images, record, stopped_run, labels)},
    **{function.__name__: (function, False) for function in (arguments, sources)},
}
_ARGUMENTS = (
    *(
        "experiment=w32_256x192",
        "optim.lr=1e-3",
        "data.val_boxes=[gt]",
        "model=hrnet_w48,hrnet_w32",
        "-m",
        "--cfg",
        "--config-dir",
    ),
    *("trainer.max_epochs=3", "+trainer.limit_val_batches=0.5", "~callbacks.pictures", "source='a (1)/*.jpg'", "paths.run=a/b"),
    *("ckpt_path=last", "optim.lr=range(1,3)", "size=128x96", "codec.input_size=[96,128]", "seed=1", "name=a b", "weights=x.pth"),
    *("data.keypoint_fields={keypoints: 3}", "model={_target_: a.B}", "hydra.run.dir=x", "name=${oc.env:HOME}", "a =b"),
)


def call(entry_point: str, seed: int, folder: Path) -> str | None:
    """Call an entry point with the input of a seed; return None, or why its behaviour is wrong."""
    function, names_file = ENTRY_POINTS[entry_point]
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(Random(seed), folder)
    except Exception as error:
        if not is_clear(error, folder, names_file=names_file):
            return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        logging.disable(logging.NOTSET)
    return None


def _few() -> dict[str, torch.Tensor]:
    return {f"net.{name}": tensor for name, tensor in _net().state_dict().items()}


class _Net(torch.nn.Module):
    """The smallest network with the names of an official one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.final_layer = torch.nn.Conv2d(4, 17, 1, bias=False)


_coco, _weights, _state, _images, _labels = map(
    cache, (seeds.coco_files, seeds.weight_files, seeds.state_dict, seeds.images, seeds.labels)
)
_record, _net = cache(seeds.export_record), cache(_Net)


@cache
def _skeleton():  # type: ignore[no-untyped-def]
    from hrpose.skeletons import Skeleton

    return Skeleton.from_names(seeds.NAMES, sigmas=[0.1] * 3, upper_body=[])
