"""`streamd service` for those who have no environment yet: `make install`."""

from __future__ import annotations

import argparse
import sys

from streamd import installer
from streamd.errors import StreamdError


def main() -> int:
    parser = argparse.ArgumentParser(prog="streamd service", description="streamd as a systemd service.")
    installer.add_arguments(parser)
    try:
        installer.act(parser.parse_args())
    except StreamdError as error:
        for line in str(error).splitlines():
            print(f"streamd: {line}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
