"""Download COCO 2017 into the layout that hrpose expects; an interrupted download can be resumed.

The images and annotations come from the COCO servers or a mirror with the same folders. The authors of the HRNet paper share
the person detections behind its tables on Google Drive and OneDrive, without a direct address, so the user downloads them
manually.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID

from hrpose.download.http import DownloadError, Report, fetch, require_space
from hrpose.download.unzip import has_size, unpack
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
    """One zip file of the COCO servers."""

    path: str
    size: int  # bytes
    md5: str
    contents: str  # prefix of the names of the files that are unpacked
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
    """Return a text that lists the files that training on COCO needs, which of them exist, and how to get the others."""
    folder = Path(data_dir)
    return "\n".join(
        [
            *_expected_files(folder),
            "Download and unpack it (20 GB; needs 40 GB of free disk space; can be interrupted) from a checkout:",
            f"  python scripts/prepare_coco.py {folder}",
            "or download these archives and unpack them into the folder:",
            *(f"  {COCO_URL}/{archive.path}" for archive in _ARCHIVES.values()),
            f"Download {DETECTIONS_FILE.rpartition('/')[2]} from a folder of the paper's authors:",
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
    """Download and unpack COCO 2017 with progress bars; existing files are neither downloaded nor unpacked again.

    Args:
        data_dir: folder of the dataset; it is created.
        splits: image sets to download, of ``"val"`` and ``"train"``; the annotations of both are always included.
        base_url: parent address of ``zips/`` and ``annotations/``. Sizes, digests and counts are compared with the published
            ones only for the default.
        detections_url: direct address of the person detections; None skips them.
        keep_archives: whether to keep the zip files under ``downloads/`` after unpacking.

    Returns:
        A text: the expected files, which of them exist, and the numbers of files and boxes.

    Raises:
        DownloadError: if a download, an archive or a number of files is wrong.
        ValueError: if a split is unknown.
    """
    unknown = sorted(set(splits) - {"train", "val"})
    if unknown:
        raise ValueError(f"Expected splits among 'train' and 'val', but got {', '.join(map(repr, unknown))}.")
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
        "train2017/": f"({_ARCHIVES['train'].num_files:,} images)",
        "val2017/": f"({_ARCHIVES['val'].num_files:,} images)",
        DETECTIONS_FILE: "(for detector boxes only)",
    }
    return list_files("COCO 2017", folder, notes)


def _prepare_archive(archive: _Archive, folder: Path, base_url: str, *, keep: bool, report: Report) -> None:
    """Download and unpack one archive, unless its files exist."""
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
    """Check whether every file of the manifest exists or, without a manifest, the published number of images."""
    if not manifest_file.is_file():
        return official and archive.contents.endswith("/") and _num_files(archive, folder) >= archive.num_files
    sizes = {folder / name: size for name, size in json.loads(manifest_file.read_text()).items()}
    return len(sizes) > 0 and all(has_size(file, size) for file, size in sizes.items())


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
    """Download the detections file; raise if the answer is a web page, as file-sharing sites send one."""
    if file.is_file():
        return
    fetched = fetch(url, file.with_name(f"{file.name}.unchecked"), report=report)
    with fetched.open("rb") as stream:
        first = stream.read(64).lstrip()[:1]
    if first != b"[":
        fetched.unlink()
        raise DownloadError(
            f"Expected a JSON list of person detections at {url}, but found another format (possibly a web page). "
            f"Download the file with a browser to {file}, and run the command without the address."
        )
    fetched.replace(file)


def _count_detections(file: Path) -> str:
    if not file.is_file():
        return f"  no detector boxes; they can be downloaded from {' or '.join(DETECTIONS_LINKS)}"
    return f"  {len(json.loads(file.read_text())):,} detector boxes (the paper's file has {_NUM_DETECTIONS:,})"


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Report]]:
    """Show one progress bar per file and step; yield a function from the name of a file to its report function."""
    with make_progress("bytes", console=Console(), transient=False) as progress:
        tasks: dict[str, TaskID] = {}

        def report(name: str, step: str, done: int, total: int | None) -> None:
            task = f"{step:<8} {name}"
            if task not in tasks:
                tasks[task] = progress.add_task(task, total=total)
            progress.update(tasks[task], completed=done, total=total)

        yield lambda name: partial(report, name)
