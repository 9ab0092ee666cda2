"""``python -m recurra`` is the command line, as ``accelerate launch -m recurra`` and torchrun need."""

from recurra.cli import main

if __name__ == "__main__":
    main()
