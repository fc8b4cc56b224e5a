/* What every workload of the benchmark uses. A workload is a function that prepares, calls begin(), works in proportion
 * to n, and calls end(). Its row in main.c gives it its name. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What is before is preparation and is not measured. */
void begin(void);

/* The end of the measured part. The checksum must depend on all the work and be the same on every machine that computes
 * correctly. */
void end(uint64_t checksum);

/* Ends the program; the row has failed. */
_Noreturn void fail(const char *what);

/* Zeroed memory, or fail(). */
void *allocate(size_t bytes);

/* The same sequence everywhere: a 64-bit linear congruential generator with its upper bits folded down. */
static inline uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state ^ (*state >> 29);
}

/* Adds a value to a checksum; order matters. */
static inline uint64_t mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * 0x9e3779b97f4a7c15u;
    return sum ^ (sum >> 32);
}

/* The bits of a number, for a checksum. */
static inline uint64_t bits(double value)
{
    union { double value; uint64_t bits; } u = { value };
    return u.bits;
}

void coremix(unsigned long n);
void calls(unsigned long n);
void indirect(unsigned long n);
void sorting(unsigned long n);
void interp(unsigned long n);
void sha256(unsigned long n);
void aes(unsigned long n);
void aes_insn(unsigned long n);

void nbody(unsigned long n);
void whetstone(unsigned long n);
void mandelbrot(unsigned long n);
void fft(unsigned long n);

void matmul_double(unsigned long n);
void matmul_float(unsigned long n);
void filter(unsigned long n);
void strings(unsigned long n);

void hash(unsigned long n);
void stream(unsigned long n);
void copies(unsigned long n);
void chase(unsigned long n);

void syscalls(unsigned long n);
void pipes(unsigned long n);
void faults(unsigned long n);
void mappings(unsigned long n);
void forks(unsigned long n);
void execs(unsigned long n);
void signals(unsigned long n);
void jit(unsigned long n);
void disk(unsigned long n);
