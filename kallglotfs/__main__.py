"""`python -m kallglotfs` is `kallglotfs`."""

import sys

from kallglotfs.cli.main import main

sys.exit(main())
