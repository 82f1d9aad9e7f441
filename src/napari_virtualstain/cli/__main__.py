"""``python -m napari_virtualstain.cli``."""

from napari_virtualstain.cli.main import main

raise SystemExit(main())
