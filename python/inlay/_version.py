"""The release, the same as of libinlay.so."""

__version__ = "0.1.0"
