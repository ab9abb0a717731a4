"""`python -m vsuda_cli` is `vsuda`; torchrun starts it this way."""

from vsuda_cli.cli import main

main()
