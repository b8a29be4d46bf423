"""``python -m ellc`` is the same as the ``ellc`` command."""

from ellc.cli import main

if __name__ == "__main__":
    main()
