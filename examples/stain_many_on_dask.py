"""Stain many images on the workers of a dask cluster, an image a worker at a time.

    python examples/stain_many_on_dask.py FOLDER OUT --workers 2
    python examples/stain_many_on_dask.py FOLDER OUT --scheduler tcp://host:8786

An image that fails keeps no other from being stained, and a second start does only what is not
done. Without a scheduler, workers are started on this machine. For one very large image take
`virtualstain stain --workers` instead, which shares out its tiles.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from distributed import Client, LocalCluster, as_completed


def stain_one(source: str, out: str, model: str) -> str:
    """Stain an image on a worker, unless that is done; return what to say of it."""
    from napari_virtualstain import VirtualStainError, open_image, stain  # on the worker

    try:
        if Path(out).exists() and not open_image(out).guesses:  # of a partial one it is said there
            return "was done before"
        stain(source, model=model, out=out, overwrite=True)
    except VirtualStainError as error:
        return f"failed: {error}"
    return "stained"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with images, each a file or an OME-Zarr")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--scheduler", help="address; its workers see the same files")
    parser.add_argument("--workers", type=int, default=2, help="without a scheduler")
    options = parser.parse_args()
    images = sorted(p.absolute() for p in options.folder.iterdir() if not p.name.startswith("."))
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.absolute()

    # One thread a worker, so that no two stains share a worker's memory.
    cluster = options.scheduler or LocalCluster(
        n_workers=options.workers, threads_per_worker=1, dashboard_address=None
    )
    with Client(cluster) as client:
        runs = {}
        for image in images:
            target = out / f"{image.name.split('.')[0]}.ome.zarr"
            run = client.submit(stain_one, str(image), str(target), options.model, pure=False)
            runs[run] = image.name
        for run in as_completed(runs):
            print(f"{runs[run]}: {run.result()}")
    if not options.scheduler:
        cluster.close()


if __name__ == "__main__":
    main()
