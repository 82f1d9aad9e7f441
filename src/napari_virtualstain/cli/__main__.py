"""``python -m napari_virtualstain.cli``."""

import sys

try:
    from napari_virtualstain.cli.main import main
except KeyboardInterrupt:  # on a slow disk the import alone takes a while
    sys.stderr.write("error: Interrupted before anything began. Run the command again.\n")
    raise SystemExit(130) from None

raise SystemExit(main())
