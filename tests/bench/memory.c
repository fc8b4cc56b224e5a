/* Memory: sizes that caches and TLBs do not hold. */
#include "bench.h"

#include <string.h>

/* ---- hash: a table of 32 MiB with open addressing; half the look-ups miss ---- */

void hash(unsigned long n)
{
    enum { SLOTS = 1 << 22 };
    uint64_t *table = allocate(SLOTS * sizeof *table);
    uint64_t seed = 19, sum = 0;
    for (int i = 0; i < SLOTS / 2; i++) {
        uint64_t key = next_random(&seed) | 1, at = (key * 0x9e3779b97f4a7c15u) >> 42;
        while (table[at])
            at = (at + 1) & (SLOTS - 1);
        table[at] = key;
    }
    uint64_t known = 19, unknown = 23;
    begin();
    for (unsigned long i = 0; i < 100000 * n; i++) {
        if (i % SLOTS == 0)
            known = 19;
        uint64_t key = (i & 1 ? next_random(&unknown) : next_random(&known)) | 1;
        uint64_t at = (key * 0x9e3779b97f4a7c15u) >> 42;
        while (table[at] && table[at] != key)
            at = (at + 1) & (SLOTS - 1);
        sum += table[at] == key;
    }
    end(sum);
}

/* ---- stream: copy, scale, add and triad over arrays of 64 MiB, n rounds ---- */

#pragma GCC push_options
#pragma GCC optimize("O3")

void stream(unsigned long n)
{
    const size_t count = (64 << 20) / sizeof(double);
    double *restrict a = allocate(64 << 20), *restrict b = allocate(64 << 20), *restrict c = allocate(64 << 20);
    for (size_t i = 0; i < count; i++)
        a[i] = 1 + i % 7, b[i] = 2, c[i] = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        for (size_t i = 0; i < count; i++)
            c[i] = a[i];
        for (size_t i = 0; i < count; i++)
            b[i] = 0.25 * c[i];
        for (size_t i = 0; i < count; i++)
            c[i] = a[i] + b[i];
        for (size_t i = 0; i < count; i++)
            a[i] = b[i] + 0.5 * c[i];
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i += 4099)
        sum = mix(sum, bits(a[i]));
    end(sum);
}

#pragma GCC pop_options

/* ---- copies: memcpy, memmove and memset of 1 to 256 bytes, n thousand of each ---- */

void copies(unsigned long n)
{
    static uint8_t from[4096], to[4096];
    uint64_t seed = 29, sum = 0;
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = next_random(&seed);
    void *(*volatile copy)(void *, const void *, size_t) = memcpy;
    void *(*volatile move)(void *, const void *, size_t) = memmove;
    void *(*volatile set)(void *, int, size_t) = memset;
    begin();
    for (unsigned long i = 0; i < 1000 * n; i++) {
        size_t length = 1 + (i * 37 & 255), at = i * 101 & 2047;
        copy(to + at, from + (i & 1023), length);
        move(to + at + 5, to + at, length);
        set(to + (at ^ 1024), i, length / 2);
        sum += to[at + 7];
    }
    for (size_t i = 0; i < sizeof to; i++)
        sum = mix(sum, to[i]);
    end(sum);
}

/* ---- chase: a chain of pointers through 64 MiB in random order, n hundred thousand steps ---- */

void chase(unsigned long n)
{
    enum { COUNT = 1 << 20, LINE = 64 };
    char *memory = allocate((size_t)COUNT * LINE);
    uint32_t *order = allocate(COUNT * sizeof *order);
    uint64_t seed = 31;
    for (uint32_t i = 0; i < COUNT; i++)
        order[i] = i;
    /* Sattolo's shuffle: one cycle through all. */
    for (uint32_t i = COUNT - 1; i > 0; i--) {
        uint32_t j = next_random(&seed) % i, t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (uint32_t i = 0; i < COUNT; i++)
        *(char **)(memory + (size_t)i * LINE) = memory + (size_t)order[i] * LINE;
    char *at = memory;
    begin();
    for (unsigned long i = 0; i < 100000 * n; i++)
        at = *(char **)at;
    end(at - memory);
}
