from .annex import pages as pages
from .held import Holdings as Holdings, Learned as Learned, holdings as holdings
from .patient import Person as Person, person as person
from .removing import remove as remove
from .withdrawing import record_of as record_of, withdraw as withdraw
