from .columns import Groups as Groups, divide as divide
from .measuring import Column as Column, Group as Group, compare as compare
from .page import sentence as sentence, write_page as write_page
from .scored import Sample as Sample, Scored as Scored, read_samples as read_samples
