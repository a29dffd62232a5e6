from .checking import Checked as Checked, check_site as check_site
from .looking import Look as Look, Seen as Seen, look_at as look_at
from .site_page import write_page as write_page
