"""`python -m tui.cli`, as the installed `cai`."""

import sys

from tui.cli.entry import main

sys.exit(main())
