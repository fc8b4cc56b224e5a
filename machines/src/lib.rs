//! Boards as recorded data, and how kernels are loaded onto them.
