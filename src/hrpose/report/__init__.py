"""Reports of an evaluation: protocol, metrics and error analysis, as records, JSON and HTML pages."""

from hrpose.report.analysis import Evaluated, Report, analyse
from hrpose.report.diagnosis import LOW_AP, Diagnosis, diagnose
from hrpose.report.evidence import Instances, RunEvidence, Training, average_recall
from hrpose.report.measurement import COLUMNS, Comparison, Measurement, compare_measurements, measure, read_measurement
from hrpose.report.page import draw_page, write_report
from hrpose.report.protocol import Benchmark, FileStamp, PckhProtocol, Protocol, name_areas, name_num_keypoints, name_sigmas
from hrpose.report.table import show_pckh, write_pckh

__all__ = [
    "COLUMNS",
    "LOW_AP",
    "Benchmark",
    "Comparison",
    "Diagnosis",
    "Evaluated",
    "FileStamp",
    "Instances",
    "Measurement",
    "PckhProtocol",
    "Protocol",
    "Report",
    "RunEvidence",
    "Training",
    "analyse",
    "average_recall",
    "compare_measurements",
    "diagnose",
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
