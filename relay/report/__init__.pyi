from .curves import curve_in as curve_in
from .explanations import MAPS as MAPS
from .gather import Run as Run
from .page import render as render, write_report as write_report
from .plot_style import Picture as Picture, figure as figure, styled as styled
from .scores import rows_of as rows_of
from .screen import show_comparison as show_comparison, show_study as show_study
from .sections import Section as Section
from .shapes import Maps as Maps
from .tables import Table as Table
from .tiles import Tile as Tile, address as address
