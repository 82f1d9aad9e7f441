"""``python -m napari_virtualstain``."""

from napari_virtualstain.cli.main import main

raise SystemExit(main())
