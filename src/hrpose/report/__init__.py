"""What is said of a set of poses: how it was measured, how good it is, what goes wrong; as records, JSON and an HTML page."""

from hrpose.report.analysis import Evaluated, Report, analyse
from hrpose.report.comparison import Comparison, compare_measurements
from hrpose.report.files import read_measurement, write_report
from hrpose.report.measurement import COLUMNS, Measurement, measure
from hrpose.report.page import draw_page
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
