"""Which Debian packages does a napari window on this machine still need?

Prints one package a line, nothing when all is there. Looks for the libraries themselves, not for
package names: those differ between releases (libglib2.0-0 became libglib2.0-0t64) and systems.
"""

import ctypes

LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libGLX_mesa.so.0": "libglx-mesa0 libgl1-mesa-dri",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
}


def missing_packages(load=ctypes.CDLL):
    """List the packages whose library does not load."""
    missing = []
    for library, packages in LIBRARIES.items():
        try:
            load(library)
        except OSError:
            missing.extend(packages.split())
    return missing


if __name__ == "__main__":
    for package in missing_packages():
        print(package)
