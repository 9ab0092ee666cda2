"""One thread for each test process: two with two spinning threads each would stand in each other's way."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported; child processes inherit it
