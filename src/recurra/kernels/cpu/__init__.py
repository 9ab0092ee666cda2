"""Native kernels for processors: a cell's equation printed as C++ inside one shared loop, compiled and cached."""
