//! The vocabulary of a machine: addresses, RAM, address space, devices, lines, clocks, vCPUs.
