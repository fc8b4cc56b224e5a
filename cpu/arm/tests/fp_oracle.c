/* Runs floating-point instructions on behalf of fp_qemu.rs: records in on stdin, results out on stdout.
   ops.inc, which the test writes, has one RUN per row of its table. */
#include <stdint.h>
#include <unistd.h>

struct record {
    uint64_t op, fpcr, a, b, c;
};

struct result {
    uint64_t value, fpsr;
};

/* Operands are in d0, d1, d2, and the first also in x9, where the instructions leave the result. */
#define RUN(row, text)                                                                                                 \
    case row:                                                                                                          \
        asm volatile("fmov d0, %[a]\n fmov d1, %[b]\n fmov d2, %[c]\n mov x9, %[a]\n"                                  \
                     "msr fpsr, xzr\n msr fpcr, %[fpcr]\n" text "\n mrs %[fpsr], fpsr\n msr fpcr, xzr\n"               \
                     "mov %[value], x9\n"                                                                              \
                     : [value] "=&r"(out.value), [fpsr] "=&r"(out.fpsr)                                                \
                     : [a] "r"(in->a), [b] "r"(in->b), [c] "r"(in->c), [fpcr] "r"(in->fpcr)                            \
                     : "x0", "x9", "v0", "v1", "v2", "cc");                                                                  \
        break;

static struct result run(const struct record *in) {
    struct result out = {0, 0};
    switch (in->op) {
#include "ops.inc"
    }
    return out;
}

static struct record records[1024];
static struct result results[1024];

/* As many bytes as there are, up to size. */
static size_t read_all(void *buffer, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(0, (char *)buffer + done, size - done);
        if (n <= 0)
            break;
        done += n;
    }
    return done;
}

static int write_all(const void *buffer, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(1, (const char *)buffer + done, size - done);
        if (n <= 0)
            return 0;
        done += n;
    }
    return 1;
}

int main(void) {
    for (;;) {
        size_t n = read_all(records, sizeof records) / sizeof records[0];
        for (size_t i = 0; i < n; i++)
            results[i] = run(&records[i]);
        if (n == 0)
            return 0;
        if (!write_all(results, n * sizeof results[0]))
            return 1;
    }
}
