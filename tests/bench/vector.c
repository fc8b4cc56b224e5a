/* Vectors (by the compiler's own vectorisation) and the C library's string functions, which use vectors too. */
#include "bench.h"

#include <string.h>

#pragma GCC optimize("O3")

/* ---- matmul: products of 128 by 128 matrices, row by row so that the innermost loop is a vector's ---- */

enum { SIDE = 128 };

#define PRODUCT(NAME, TYPE)                                                                                            \
    static __attribute__((noinline)) void NAME(TYPE *restrict out, const TYPE *restrict a, const TYPE *restrict b)     \
    {                                                                                                                  \
        for (int i = 0; i < SIDE; i++) {                                                                               \
            for (int j = 0; j < SIDE; j++)                                                                             \
                out[i * SIDE + j] = 0;                                                                                 \
            for (int k = 0; k < SIDE; k++) {                                                                           \
                TYPE factor = a[i * SIDE + k];                                                                         \
                for (int j = 0; j < SIDE; j++)                                                                         \
                    out[i * SIDE + j] += factor * b[k * SIDE + j];                                                     \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void NAME##_rounds(unsigned long n)                                                                         \
    {                                                                                                                  \
        static TYPE a[SIDE * SIDE], b[SIDE * SIDE], out[SIDE * SIDE];                                                  \
        uint64_t seed = 5, sum = 0;                                                                                    \
        for (int i = 0; i < SIDE * SIDE; i++) {                                                                        \
            a[i] = (TYPE)(next_random(&seed) % 1000) / 1000;                                                           \
            b[i] = (TYPE)(next_random(&seed) % 1000) / 700;                                                            \
        }                                                                                                              \
        begin();                                                                                                       \
        for (unsigned long round = 0; round < n; round++) {                                                            \
            NAME(out, a, b);                                                                                           \
            sum = mix(sum, bits(out[round % (SIDE * SIDE)]));                                                          \
            a[round % (SIDE * SIDE)] = out[(round * 7) % (SIDE * SIDE)] / 64;                                          \
        }                                                                                                              \
        end(sum);                                                                                                      \
    }

PRODUCT(product_double, double)
PRODUCT(product_float, float)

void matmul_double(unsigned long n)
{
    product_double_rounds(n);
}

void matmul_float(unsigned long n)
{
    product_float_rounds(n);
}

/* ---- filter: a grey image of 8-bit pixels is blurred, its edges found, and the two blended with saturation ---- */

enum { WIDTH = 512, HEIGHT = 256 };

static __attribute__((noinline)) void blur(uint8_t *restrict out, const uint8_t *restrict in)
{
    for (int y = 1; y < HEIGHT - 1; y++) {
        const uint8_t *up = in + (y - 1) * WIDTH, *mid = in + y * WIDTH, *down = in + (y + 1) * WIDTH;
        for (int x = 1; x < WIDTH - 1; x++)
            out[y * WIDTH + x] = (up[x - 1] + 2 * up[x] + up[x + 1] + 2 * mid[x - 1] + 4 * mid[x] + 2 * mid[x + 1]
                                  + down[x - 1] + 2 * down[x] + down[x + 1] + 8) >> 4;
    }
}

static __attribute__((noinline)) void edges(uint8_t *restrict out, const uint8_t *restrict in)
{
    for (int y = 1; y < HEIGHT - 1; y++) {
        const uint8_t *up = in + (y - 1) * WIDTH, *mid = in + y * WIDTH, *down = in + (y + 1) * WIDTH;
        for (int x = 1; x < WIDTH - 1; x++) {
            int16_t across = up[x + 1] + 2 * mid[x + 1] + down[x + 1] - up[x - 1] - 2 * mid[x - 1] - down[x - 1];
            int16_t along = down[x - 1] + 2 * down[x] + down[x + 1] - up[x - 1] - 2 * up[x] - up[x + 1];
            int16_t size = (across < 0 ? -across : across) + (along < 0 ? -along : along);
            out[y * WIDTH + x] = size > 255 ? 255 : size;
        }
    }
}

static __attribute__((noinline)) void blend(uint8_t *restrict out, const uint8_t *restrict a, const uint8_t *restrict b)
{
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        uint16_t sum = a[i] + (b[i] >> 1);
        out[i] = sum > 255 ? 255 : sum;
    }
}

void filter(unsigned long n)
{
    static uint8_t image[WIDTH * HEIGHT], smooth[WIDTH * HEIGHT], edge[WIDTH * HEIGHT];
    uint64_t seed = 13, sum = 0;
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        image[i] = (i % WIDTH) / 2 + next_random(&seed) % 64;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        blur(smooth, image);
        edges(edge, smooth);
        blend(image, smooth, edge);
        image[(round * 977) % (WIDTH * HEIGHT)] = round;
        sum = mix(sum, image[(round * 7919) % (WIDTH * HEIGHT)]);
    }
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        sum = mix(sum, image[i]);
    end(sum);
}

/* ---- strings: strlen, memchr, strchr, strcmp and memcmp of 16 to 1500 bytes ---- */

void strings(unsigned long n)
{
    enum { COUNT = 64, LONGEST = 1536 };
    static char texts[COUNT][LONGEST], copies[COUNT][LONGEST];
    size_t lengths[COUNT];
    uint64_t seed = 17, sum = 0;
    for (int i = 0; i < COUNT; i++) {
        lengths[i] = 16 + next_random(&seed) % (LONGEST - 17);
        for (size_t at = 0; at < lengths[i]; at++)
            texts[i][at] = 'a' + next_random(&seed) % 26;
        memcpy(copies[i], texts[i], LONGEST);
    }
    /* Through volatile pointers: the compiler must not know what they compute. */
    size_t (*volatile length)(const char *) = strlen;
    void *(*volatile find)(const void *, int, size_t) = memchr;
    char *(*volatile find_char)(const char *, int) = (char *(*)(const char *, int))strchr;
    int (*volatile compare)(const char *, const char *) = strcmp;
    int (*volatile compare_bytes)(const void *, const void *, size_t) = memcmp;
    begin();
    for (unsigned long round = 0; round < n; round++)
        for (int i = 0; i < COUNT; i++) {
            size_t skip = (round + i) & 15;
            const char *text = texts[i] + skip, *copy = copies[i] + skip;
            size_t count = length(text);
            sum += count;
            sum += (const char *)find(text, 0, count + 1) - text;
            sum += find_char(text, '#') == NULL;
            sum += compare(text, copy) == 0;
            sum += compare_bytes(text, copy, count) == 0;
            sum += compare(text, texts[(i + 1) % COUNT]) < 0;
            sum = mix(sum, skip);
        }
    end(sum);
}
