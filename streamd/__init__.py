"""streamd turns cameras into live depth video on a CPU."""

__version__ = "0.1.0"
