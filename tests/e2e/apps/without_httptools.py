"""Runs uvicorn as on a machine that has no httptools, so that "auto" is h11; in the workers that it starts too."""

import sys

sys.modules["httptools"] = None

from uvicorn.main import main  # noqa: E402

if __name__ == "__main__":
    main()
