"""What is said of a set of poses: how it was measured, how good it is, what goes wrong; as records, JSON and an HTML page."""

from hrpose.report.analysis import Evaluated, Report, analyse
from hrpose.report.measurement import (
    COLUMNS,
    Comparison,
    Measurement,
    compare_measurements,
    measure,
    read_measurement,
)
from hrpose.report.page import draw_page, write_report
from hrpose.report.pckh import PckhProtocol, show_pckh, write_pckh
from hrpose.report.protocol import FileStamp, Protocol, name_areas, name_num_keypoints, name_sigmas

__all__ = [
    "COLUMNS",
    "Comparison",
    "Evaluated",
    "FileStamp",
    "Measurement",
    "PckhProtocol",
    "Protocol",
    "Report",
    "analyse",
    "compare_measurements",
    "draw_page",
    "measure",
    "name_areas",
    "name_num_keypoints",
    "name_sigmas",
    "read_measurement",
    "show_pckh",
    "write_pckh",
    "write_report",
]
