"""The peak memory of a transducer's loss and gradients.

``python -m benchmarks.children.transducer_peak recurra B T U V J``
"""

import sys

from benchmarks.children.peak import rise
from benchmarks.sections.transducer import Learning, call_of

__all__: list[str] = []


def main() -> None:
    """Print the bytes."""
    side, *sizes = sys.argv[1:]
    batch, time, longest, kinds, joint = map(int, sizes)
    Learning(side, call_of(1, 3, 2, kinds, joint))()
    print(rise(Learning(side, call_of(batch, time, longest, kinds, joint))))


if __name__ == "__main__":
    main()
