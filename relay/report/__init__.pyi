from .page import write_report as write_report
from .screen import show_comparison as show_comparison, show_study as show_study
