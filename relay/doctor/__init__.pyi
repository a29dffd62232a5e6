from .checkup import check_machine as check_machine, check_stick as check_stick
from .finding import Finding as Finding, Level as Level
from .redacted import is_report as is_report, write_report as write_report
from .selftest import self_test as self_test
