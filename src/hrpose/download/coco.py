"""Get COCO 2017: the layout that hrpose expects, and a download that can be stopped and started again.

The photos and annotations come from the COCO servers (or a mirror of the same shape). The person detections behind the
tables of the HRNet paper are shared by its authors on Google Drive and OneDrive, without a direct address, so they are
fetched by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID

from hrpose.download.http import DownloadError, Report, fetch, require_space
from hrpose.download.unzip import unpack
from hrpose.files import dumps, list_files
from hrpose.progress import make_progress

COCO_URL = "http://images.cocodataset.org"
DETECTIONS_FILE = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
DETECTIONS_LINKS = (
    "https://drive.google.com/drive/folders/1fRUDNUDxe9fjqcRZ2bnF_TKMlO0nB_dk",
    "https://1drv.ms/f/s!AhIXJn_J-blWzzDXoz5BeFl8sWM-",
)
_NUM_DETECTIONS = 104_125  # rows of the paper's file
_DOWNLOADS = "downloads"


@dataclass(frozen=True)
class _Archive:
    """One zip of COCO 2017, as it lies on the COCO servers."""

    path: str
    size: int  # bytes
    md5: str
    contents: str  # what is needed of it: the files whose names begin so
    num_files: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


_ARCHIVES = {
    "annotations": _Archive(
        path="annotations/annotations_trainval2017.zip",
        size=252_907_541,
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
        contents="annotations/person_keypoints_",
        num_files=2,
    ),
    "val": _Archive("zips/val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80", "val2017/", 5_000),
    "train": _Archive("zips/train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2", "train2017/", 118_287),
}


def coco_layout(data_dir: Path | str) -> str:
    """Return a few lines on the files that COCO training expects, which of them exist, and how to get the others.

    Args:
        data_dir: the folder of the dataset, ``paths.data`` in the configuration.
    """
    folder = Path(data_dir)
    return "\n".join(
        [
            *_expected_files(folder),
            "Download and unpack it (20 GB; 40 GB of free disk; may be stopped and started again) from a checkout:",
            f"  python scripts/prepare_coco.py {folder}",
            "or fetch these archives yourself and unpack them there:",
            *(f"  {COCO_URL}/{archive.path}" for archive in _ARCHIVES.values()),
            f"{DETECTIONS_FILE.rpartition('/')[2]} is fetched by hand from a folder of the paper's authors:",
            *(f"  {link}" for link in DETECTIONS_LINKS),
        ]
    )


def prepare_coco(
    data_dir: Path | str,
    *,
    splits: Sequence[str] = ("val", "train"),
    base_url: str = COCO_URL,
    detections_url: str | None = None,
    keep_archives: bool = False,
) -> str:
    """Download and unpack COCO 2017 with progress bars; existing files are neither fetched nor unpacked again.

    Args:
        data_dir: the folder of the dataset; it is created.
        splits: the images wanted, ``"val"`` and ``"train"``; the annotations of both are always included.
        base_url: of ``zips/`` and ``annotations/``. Sizes, digests and counts are compared with the published ones only for the
            default.
        detections_url: a direct address of the person detections, if there is one.
        keep_archives: keep the zip files under ``downloads/`` once they are unpacked.

    Returns:
        The expected layout, which files exist, and how many files and boxes were counted.

    Raises:
        DownloadError: with the file, the reason and the next step.
        ValueError: for an unknown split.
    """
    unknown = sorted(set(splits) - {"train", "val"})
    if unknown:
        raise ValueError(f"Expected splits to be some of 'train' and 'val', but got {', '.join(map(repr, unknown))}.")
    folder = Path(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    base_url = base_url.rstrip("/")
    counts = []
    with progress_bars() as report_for:
        for archive in (_ARCHIVES[name] for name in ("annotations", *splits)):
            _prepare_archive(archive, folder, base_url, keep=keep_archives, report=report_for(archive.name))
            counts.append(_count_files(archive, folder, official=base_url == COCO_URL))
        if detections_url is not None:
            _fetch_detections(detections_url, folder / DETECTIONS_FILE, report_for("detections"))
    return "\n".join([*_expected_files(folder), "Counted:", *counts, _count_detections(folder / DETECTIONS_FILE)])


def _expected_files(folder: Path) -> list[str]:
    notes = {
        "annotations/person_keypoints_train2017.json": "",
        "annotations/person_keypoints_val2017.json": "",
        "train2017/": f"({_ARCHIVES['train'].num_files:,} photos)",
        "val2017/": f"({_ARCHIVES['val'].num_files:,} photos)",
        DETECTIONS_FILE: "(for detector boxes only)",
    }
    return list_files("COCO 2017", folder, notes)


def _prepare_archive(archive: _Archive, folder: Path, base_url: str, *, keep: bool, report: Report) -> None:
    """Fetch and unpack one archive, unless its files exist."""
    official = base_url == COCO_URL
    zip_file = folder / _DOWNLOADS / archive.name
    manifest_file = folder / _DOWNLOADS / f"{archive.name}.files.json"
    if _is_complete(archive, folder, manifest_file, official=official):
        return
    if official and not zip_file.is_file():
        require_space(folder, 2 * archive.size, f"Downloading and unpacking {archive.name}")
    fetch(
        f"{base_url}/{archive.path}",
        zip_file,
        size=archive.size if official else None,
        checksum=f"md5:{archive.md5}" if official else None,
        report=report,
    )
    sizes = unpack(zip_file, folder, wanted=lambda name: name.startswith(archive.contents), report=report)
    manifest_file.write_text(dumps(sizes))
    if not keep:
        zip_file.unlink()


def _is_complete(archive: _Archive, folder: Path, manifest_file: Path, *, official: bool) -> bool:
    """Check whether every unpacked file exists or, without a manifest, the published number of images."""
    if not manifest_file.is_file():
        return official and archive.contents.endswith("/") and _num_files(archive, folder) >= archive.num_files
    sizes = {folder / name: size for name, size in json.loads(manifest_file.read_text()).items()}
    return len(sizes) > 0 and all(file.is_file() and file.stat().st_size == size for file, size in sizes.items())


def _num_files(archive: _Archive, folder: Path) -> int:
    return sum(path.suffix in (".jpg", ".json") for path in folder.glob(f"{archive.contents}*"))


def _count_files(archive: _Archive, folder: Path, *, official: bool) -> str:
    found = _num_files(archive, folder)
    if found < (archive.num_files if official else 1):
        expected = f"{archive.num_files:,}" if official else "some"
        raise DownloadError(
            f"Expected {expected} files named {archive.contents}* in {folder}, but found {found:,}. "
            f"Delete {folder / _DOWNLOADS} and run the same command again."
        )
    return f"  {found:,} files {archive.contents}*"


def _fetch_detections(url: str, file: Path, report: Report) -> None:
    """Fetch the detections file; a web page in its place, as file-sharing sites send one, is refused."""
    if file.is_file():
        return
    fetched = fetch(url, file.with_name(f"{file.name}.unchecked"), report=report)
    with fetched.open("rb") as stream:
        first = stream.read(64).lstrip()[:1]
    if first != b"[":
        fetched.unlink()
        raise DownloadError(
            f"Expected a JSON list of person detections at {url}, but got something else (a web page?). "
            f"Open the address in a browser, save the file as {file}, and run the command again without it."
        )
    fetched.replace(file)


def _count_detections(file: Path) -> str:
    if not file.is_file():
        return f"  no detector boxes; where they are needed, get them from {' or '.join(DETECTIONS_LINKS)}"
    return f"  {len(json.loads(file.read_text())):,} detector boxes (the paper's file has {_NUM_DETECTIONS:,})"


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Report]]:
    """Show one bar per file and step; yield a function that returns the report function of a file."""
    with make_progress("bytes", console=Console(), transient=False) as progress:
        tasks: dict[str, TaskID] = {}

        def report_for(name: str) -> Report:
            def report(step: str, done: int, total: int | None, /) -> None:
                task = f"{step:<8} {name}"
                if task not in tasks:
                    tasks[task] = progress.add_task(task, total=total)
                progress.update(tasks[task], completed=done, total=total)

            return report

        yield report_for
