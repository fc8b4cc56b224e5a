// A program of mixed work for compilers and emulators: integers, big integers, floating point in both widths, vectorisable
// loops, hashing, compression, sorting, graphs, a small language, threads and formatted output. It prints one line of
// result per part, the same on every correct machine.

#define _GNU_SOURCE
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// xorshift64*, so that all input is made here.
static uint64_t seed = 0x9e3779b97f4a7c15;
static uint64_t rnd(void) {
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1d;
}

static uint64_t fnv(const void *data, size_t len) {
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < len; i++) hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
    return hash;
}

// --- Big integers: decimal digits of e and a factorial, base 10^9.
enum { LIMBS = 400 };
static void factorial(int n) {
    static uint32_t limb[LIMBS];
    memset(limb, 0, sizeof limb);
    limb[0] = 1;
    for (int i = 2; i <= n; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < LIMBS; j++) {
            uint64_t v = (uint64_t)limb[j] * i + carry;
            limb[j] = v % 1000000000;
            carry = v / 1000000000;
        }
    }
    int top = LIMBS;
    while (top > 1 && !limb[top - 1]) top--;
    char text[LIMBS * 9 + 1], *p = text;
    p += sprintf(p, "%" PRIu32, limb[top - 1]);
    for (int j = top - 2; j >= 0; j--) p += sprintf(p, "%09" PRIu32, limb[j]);
    printf("factorial %d: %zu digits, %.20s... %016" PRIx64 "\n", n, strlen(text), text, fnv(text, strlen(text)));
}

// Spigot of Rabinowitz and Wagon.
static void pi(int digits) {
    int len = digits * 10 / 3 + 1, nines = 0, predigit = 0, out = 0;
    int *a = malloc(len * sizeof *a);
    char *text = malloc(digits + 8);
    for (int i = 0; i < len; i++) a[i] = 2;
    for (int j = 0; j < digits; j++) {
        int q = 0;
        for (int i = len; i > 0; i--) {
            int x = 10 * a[i - 1] + q * i;
            a[i - 1] = x % (2 * i - 1);
            q = x / (2 * i - 1);
        }
        a[0] = q % 10;
        q /= 10;
        if (q == 9) {
            nines++;
        } else if (q == 10) {
            text[out++] = '0' + predigit + 1;
            for (; nines; nines--) text[out++] = '0';
            predigit = 0;
        } else {
            text[out++] = '0' + predigit;
            predigit = q;
            for (; nines; nines--) text[out++] = '9';
        }
    }
    text[out] = 0;
    printf("pi: %.40s %016" PRIx64 "\n", text, fnv(text, out));
    free(a);
    free(text);
}

static uint64_t power(uint64_t b, uint64_t e, uint64_t m) {
    uint64_t r = 1;
    for (b %= m; e; e >>= 1, b = (unsigned __int128)b * b % m)
        if (e & 1) r = (unsigned __int128)r * b % m;
    return r;
}
static int is_prime(uint64_t n) {
    static const uint64_t bases[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
    for (int i = 0; i < 12; i++)
        if (n % bases[i] == 0) return n == bases[i];
    uint64_t d = n - 1;
    int s = __builtin_ctzll(d);
    d >>= s;
    for (int i = 0; i < 12; i++) {
        uint64_t x = power(bases[i], d, n);
        int composite = x != 1 && x != n - 1;
        for (int r = 1; composite && r < s; r++) {
            x = (unsigned __int128)x * x % n;
            composite = x != n - 1;
        }
        if (composite) return 0;
    }
    return 1;
}
static void primes(void) {
    int small = 0, large = 0;
    for (uint64_t n = 3; n < 20000; n += 2) small += is_prime(n);
    uint64_t last = 0;
    for (uint64_t n = UINT64_MAX; n > UINT64_MAX - 2000; n -= 2)
        if (is_prime(n)) large++, last = n;
    printf("primes: %d %d %" PRIu64 "\n", small + 1, large, last);
}

// --- Integer arithmetic of every width, shifts, rotations, counts; overflow checks.
static void integers(void) {
    uint64_t sum = 0;
    int overflow = 0, saturated = 0;
    for (int i = 0; i < 200000; i++) {
        uint64_t x = rnd(), y = rnd() >> (i & 63);
        int64_t sx = (int64_t)x, sy = (int64_t)y | 1, r;
        sum += x / (y | 1) + x % (y | 1);
        if (sy != -1) sum ^= (uint64_t)(sx / sy) + (uint64_t)(sx % sy);
        sum += (uint32_t)x / ((uint32_t)y | 1) + (uint64_t)((int32_t)x / (((int16_t)y & 0x7ffe) | 1));
        sum ^= (uint64_t)((unsigned __int128)x * y >> 64) + (uint64_t)((__int128)sx * sy >> 64);
        sum = (sum << (y & 63)) | (sum >> (-y & 63));
        sum += __builtin_popcountll(x) + __builtin_clzll(x | 1) + __builtin_ctzll(y | 1ull << 63) + __builtin_bswap64(y);
        sum += (uint64_t)(int64_t)(int8_t)x ^ (uint64_t)(int64_t)(int16_t)y ^ (uint64_t)(int64_t)(int32_t)(x >> 7);
        overflow += __builtin_add_overflow(sx, sy, &r);
        sum ^= (uint64_t)r;
        overflow += __builtin_mul_overflow(sx >> 30, sy >> 20, &r);
        sum ^= (uint64_t)r;
        int v = (int16_t)x + (int16_t)y;
        saturated += v > 32767 || v < -32768;
    }
    printf("integers: %016" PRIx64 " %d %d\n", sum, overflow, saturated);
}

// --- Vectorisable loops over each element type.
#define LOOPS(type, suffix)                                                                          \
    static uint64_t loops_##suffix(void) {                                                           \
        enum { N = 1027 };                                                                           \
        static type a[N], b[N], c[N];                                                                \
        for (int i = 0; i < N; i++) a[i] = (type)rnd(), b[i] = (type)rnd();                          \
        for (int round = 0; round < 40; round++) {                                                   \
            for (int i = 0; i < N; i++) c[i] = (type)(1u * a[i] * b[i] + (type)round);                    \
            for (int i = 0; i < N; i++) a[i] = (type)(c[i] > b[i] ? c[i] - b[i] : b[i] ^ a[i]);      \
            for (int i = 0; i < N; i++) b[i] = (type)((b[i] >> 1) + c[i] * 4 + (a[i] & ~c[i]));   \
            for (int i = 0; i < N / 2; i++) c[i] = (type)(a[2 * i] + b[2 * i + 1]);                  \
            for (int i = 0; i < N; i++) a[i] = (type)(a[i] < c[i] ? a[i] : c[i]);                    \
            for (int i = 0; i < N - 3; i++) b[i] ^= a[N - 1 - i];                                    \
        }                                                                                            \
        uint64_t sum = 0;                                                                            \
        uint64_t wide = 0;                                                                           \
        for (int i = 0; i < N; i++) sum += (uint64_t)a[i], wide += (uint64_t)b[i];                   \
        return sum ^ wide ^ fnv(a, sizeof a) ^ fnv(b, sizeof b);                           \
    }
LOOPS(uint8_t, u8) LOOPS(int8_t, s8) LOOPS(uint16_t, u16) LOOPS(int16_t, s16)
LOOPS(uint32_t, u32) LOOPS(uint64_t, u64)
static void vectors(void) {
    printf("vectors: %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 "\n", loops_u8(),
           loops_s8(), loops_u16(), loops_s16(), loops_u32(), loops_u64());
}

// --- Floating point. Products and sums are kept apart by volatile where a compiler may fuse them.
static void fft(double *re, double *im, int n, int sign) {
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            double t = re[i];
            re[i] = re[j], re[j] = t;
            t = im[i], im[i] = im[j], im[j] = t;
        }
    }
    for (int len = 2; len <= n; len <<= 1)
        for (int k = 0; k < len / 2; k++) {
            double angle = sign * 2 * M_PI * k / len, wr = cos(angle), wi = sin(angle);
            for (int i = k; i < n; i += len) {
                int j = i + len / 2;
                double xr = fma(re[j], wr, -(im[j] * wi)), xi = fma(re[j], wi, im[j] * wr);
                re[j] = re[i] - xr, im[j] = im[i] - xi;
                re[i] += xr, im[i] += xi;
            }
        }
}
static void floats(void) {
    enum { N = 4096 };
    static double re[N], im[N], was[N];
    for (int i = 0; i < N; i++) was[i] = re[i] = (double)(int32_t)rnd() / 65536, im[i] = 0;
    fft(re, im, N, 1);
    printf("fft: %.12g %.12g", re[0], re[N / 2]);
    fft(re, im, N, -1);
    double worst = 0;
    for (int i = 0; i < N; i++) worst = fmax(worst, fabs(re[i] / N - was[i]));
    printf(" %s\n", worst < 1e-9 ? "and back" : "LOST");

    double s = 0;
    float f = 0;
    for (int i = 1; i <= 20000; i++) {
        double x = i * 0.001;
        volatile double parts[] = {sin(x), cos(x), tan(x), exp(x / 10), log(x), sqrt(x), cbrt(x), atan(x), sinh(x / 8), tgamma(x / 5 + 1),
                                   erf(x), pow(x, 1.7), hypot(x, 3), fmod(x, 0.7), floor(x), ceil(x), rint(x * 7), trunc(-x), fma(x, x, -x)};
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) s += parts[k];
        volatile float less[] = {sinf(x), expf(x / 10), logf(x), sqrtf(x), powf(x, 0.3f), roundf(x * 9), (float)x / 3, fmodf(x, 0.9f)};
        for (size_t k = 0; k < sizeof less / sizeof *less; k++) f += less[k];
    }
    printf("libm: %.15g %.7g\n", s, f);

    uint64_t sum = 0;
    for (int i = 0; i < 100000; i++) {
        union { uint64_t u; double d; } x = {rnd()}, y = {rnd()};
        union { uint32_t u; float f; } z = {(uint32_t)rnd()};
        sum += (x.d < y.d) + 2 * (x.d > y.d) + 4 * (x.d == x.d) + 8 * isinf(x.d) + 16 * !!signbit(y.d) + 32 * isnormal(z.f);
        if (fabs(x.d) < 1e18) sum += (uint64_t)(int64_t)x.d ^ (uint64_t)llrint(x.d);
        if (x.d >= 0 && x.d < 1e19) sum += (uint64_t)x.d;
        volatile double product = x.d * 1.5, ratio = x.d / 3, widened = z.f;
        volatile float narrowed = x.d;
        union { double d; uint64_t u; } p = {product}, q = {ratio}, w = {widened};
        union { float f; uint32_t u; } n = {narrowed};
        if (x.d == x.d) sum = sum * 31 + p.u + q.u + n.u;
        if (z.f == z.f) sum += w.u;
    }
    printf("bits: %016" PRIx64 "\n", sum);
    printf("print: %a %.3e %g %.0f %.17g %Lg %.30Lf\n", DBL_MIN / 8, DBL_MAX, FLT_EPSILON, 2.5, 0.1, 1.0L / 3, 2.0L / 7);
    long double l = 1;
    for (int i = 1; i < 200; i++) l = l * (i + 0.25L) / (i + 0.75L) + sqrtl(i);
    printf("quad: %.33Lg %d\n", l, (int)(l < 1e10L));
    printf("strtod: %.17g %.17g %g %g\n", strtod("2.2250738585072011e-308", 0), strtod("0x1.fffffffffffff8p1", 0), strtod("-inf", 0),
           strtod("1e309", 0));
}

static void matrix(void) {
    enum { N = 96 };
    static double a[N][N], b[N], x[N];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) a[i][j] = (double)(rnd() % 2001) - 1000;
        a[i][i] += 50000;
        x[i] = i - 40;
    }
    for (int i = 0; i < N; i++) {
        b[i] = 0;
        for (int j = 0; j < N; j++) b[i] += a[i][j] * x[j];
    }
    for (int k = 0; k < N; k++)
        for (int i = k + 1; i < N; i++) {
            double m = a[i][k] / a[k][k];
            for (int j = k; j < N; j++) a[i][j] -= m * a[k][j];
            b[i] -= m * b[k];
        }
    double worst = 0;
    for (int i = N - 1; i >= 0; i--) {
        for (int j = i + 1; j < N; j++) b[i] -= a[i][j] * b[j];
        b[i] /= a[i][i];
        worst = fmax(worst, fabs(b[i] - x[i]));
    }
    printf("matrix: %s %ld %ld\n", worst < 1e-9 ? "solved" : "WRONG", lround(b[0]), lround(b[N - 1]));
}

// --- SHA-256 (FIPS 180-4) and CRC-32.
static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }
static void sha256(const uint8_t *data, size_t len, uint8_t out[32]) {
    static uint32_t k[64], init[8];
    if (!k[0])
        for (int n = 2, i = 0; i < 64; n++) {
            int prime = 1;
            for (int d = 2; d * d <= n; d++) prime &= n % d != 0;
            if (!prime) continue;
            if (i < 8) init[i] = (uint32_t)(uint64_t)(sqrtl(n) * 4294967296.0L);
            k[i++] = (uint32_t)(uint64_t)(cbrtl(n) * 4294967296.0L);
        }
    uint32_t h[8];
    memcpy(h, init, sizeof h);
    size_t total = (len + 9 + 63) / 64 * 64;
    uint8_t *m = calloc(total, 1);
    memcpy(m, data, len);
    m[len] = 0x80;
    for (int i = 0; i < 8; i++) m[total - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
    for (size_t at = 0; at < total; at += 64) {
        uint32_t w[64], v[8];
        for (int i = 0; i < 16; i++) memcpy(&w[i], m + at + 4 * i, 4), w[i] = __builtin_bswap32(w[i]);
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + w[i - 7] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
                   (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 64; i++) {
            uint32_t t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
            uint32_t t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 28);
            v[4] += t1;
            v[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++) h[i] += v[i];
    }
    free(m);
    for (int i = 0; i < 8; i++) h[i] = __builtin_bswap32(h[i]), memcpy(out + 4 * i, &h[i], 4);
}
static uint32_t crc32(const uint8_t *data, size_t len) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int b = 0; b < 8; b++) crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
    }
    return ~crc;
}
static void hashes(void) {
    enum { N = 300000 };
    uint8_t *data = malloc(N), digest[32];
    for (int i = 0; i < N; i++) data[i] = (uint8_t)rnd();
    sha256((const uint8_t *)"abc", 3, digest);
    printf("sha256:");
    for (int i = 0; i < 8; i++) printf("%02x", digest[i]);
    sha256(data, N, digest);
    printf(" %016" PRIx64 " crc32: %08" PRIx32 "\n", fnv(digest, 32), crc32(data, N));
    free(data);
}

// --- Compression: LZ77 with a hash chain, bytes out, and back.
static size_t squeeze(const uint8_t *in, size_t len, uint8_t *out) {
    static int32_t head[1 << 14];
    size_t o = 0;
    memset(head, -1, sizeof head);
    for (size_t i = 0; i < len;) {
        size_t best = 0, from = 0;
        if (i + 4 <= len) {
            uint32_t four;
            memcpy(&four, in + i, 4);
            int32_t *slot = &head[four * 2654435761u >> 18];
            if (*slot >= 0 && i - *slot < 65536) {
                from = i - *slot;
                while (best < 255 && i + best < len && in[i + best] == in[*slot + best]) best++;
            }
            *slot = (int32_t)i;
        }
        if (best >= 4) {
            out[o++] = 0xff, out[o++] = (uint8_t)best, out[o++] = (uint8_t)from, out[o++] = (uint8_t)(from >> 8);
            i += best;
        } else {
            if (in[i] == 0xff) out[o++] = 0xff, out[o++] = 0;
            else out[o++] = in[i];
            i++;
        }
    }
    return o;
}
static size_t expand(const uint8_t *in, size_t len, uint8_t *out) {
    size_t o = 0;
    for (size_t i = 0; i < len;) {
        if (in[i] != 0xff) out[o++] = in[i++];
        else if (!in[i + 1]) out[o++] = 0xff, i += 2;
        else {
            for (size_t n = in[i + 1], from = in[i + 2] | in[i + 3] << 8; n--; o++) out[o] = out[o - from];
            i += 4;
        }
    }
    return o;
}
static void compression(void) {
    enum { N = 400000 };
    static const char *words[] = {"register ", "memory ", "page ", "fault ", "vector ", "\n", "interrupt ", "\xff"};
    uint8_t *in = malloc(N + 16), *out = malloc(2 * N + 16), *back = malloc(N + 300);
    size_t len = 0;
    while (len < N - 16) len += sprintf((char *)in + len, "%s", words[rnd() % 8]);
    size_t packed = squeeze(in, len, out), opened = expand(out, packed, back);
    printf("lz: %zu %zu %016" PRIx64 " %s\n", len, packed, fnv(out, packed), opened == len && !memcmp(in, back, len) ? "and back" : "LOST");
    free(in), free(out), free(back);
}

// --- Sorting, strings and a tree.
static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
struct node { struct node *left, *right; uint64_t key; unsigned priority; int count; };
static struct node *insert(struct node *n, uint64_t key, unsigned priority) {
    if (!n) {
        n = calloc(1, sizeof *n);
        n->key = key, n->priority = priority, n->count = 1;
        return n;
    }
    if (key == n->key) {
        n->count++;
    } else if (key < n->key) {
        n->left = insert(n->left, key, priority);
        if (n->left->priority > n->priority) {
            struct node *l = n->left;
            n->left = l->right, l->right = n;
            return l;
        }
    } else {
        n->right = insert(n->right, key, priority);
        if (n->right->priority > n->priority) {
            struct node *r = n->right;
            n->right = r->left, r->left = n;
            return r;
        }
    }
    return n;
}
static uint64_t walk(struct node *n, uint64_t hash) {
    if (!n) return hash;
    hash = walk(n->left, hash);
    hash = (hash ^ n->key ^ (uint64_t)n->count << 40) * 0x100000001b3;
    hash = walk(n->right, hash);
    free(n);
    return hash;
}
static void sorting(void) {
    enum { N = 50000 };
    uint64_t *a = malloc(N * sizeof *a);
    char **text = malloc(N * sizeof *text);
    struct node *root = 0;
    for (int i = 0; i < N; i++) {
        a[i] = rnd();
        if (asprintf(&text[i], "%.*s-%" PRIx64, (int)(a[i] & 7), "abcdefgh", a[i] >> 40) < 0) abort();
        root = insert(root, a[i] >> 49, (unsigned)rnd());
    }
    qsort(a, N, sizeof *a, by_value);
    qsort(text, N, sizeof *text, by_text);
    uint64_t hash = 0;
    for (int i = 0; i < N; i++) {
        hash = hash * 31 + fnv(text[i], strlen(text[i]));
        char *dash = strchr(text[i], '-'), *hex = strpbrk(text[i], "0123456789");
        hash += (uint64_t)(dash - text[i]) + (hex ? strspn(hex, "0123456789abcdef") : 99) + (memchr(text[i], 'e', strlen(text[i])) != 0);
        free(text[i]);
    }
    printf("sort: %016" PRIx64 " %016" PRIx64 " treap: %016" PRIx64 "\n", fnv(a, N * sizeof *a), hash, walk(root, 0));
    free(a), free(text);
}

// --- Recursion, bit boards, life, edit distance.
static int queens(uint32_t all, uint32_t cols, uint32_t left, uint32_t right) {
    if (cols == all) return 1;
    int count = 0;
    for (uint32_t free = all & ~(cols | left | right); free;) {
        uint32_t bit = free & -free;
        free ^= bit;
        count += queens(all, cols | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return count;
}
static unsigned ackermann(unsigned m, unsigned n) { return !m ? n + 1 : !n ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }
static void puzzles(void) {
    static uint8_t world[130][130], next[130][130];
    for (int y = 1; y < 129; y++)
        for (int x = 1; x < 129; x++) world[y][x] = rnd() & 1;
    for (int round = 0; round < 100; round++) {
        for (int y = 1; y < 129; y++)
            for (int x = 1; x < 129; x++) {
                int n = world[y - 1][x - 1] + world[y - 1][x] + world[y - 1][x + 1] + world[y][x - 1] + world[y][x + 1] +
                        world[y + 1][x - 1] + world[y + 1][x] + world[y + 1][x + 1];
                next[y][x] = n == 3 || (n == 2 && world[y][x]);
            }
        memcpy(world, next, sizeof world);
    }
    static char a[1200], b[1200];
    static int row[1201];
    for (int i = 0; i < 1200; i++) a[i] = "acgt"[rnd() & 3], b[i] = "acgt"[rnd() & 3];
    for (int j = 0; j <= 1200; j++) row[j] = j;
    for (int i = 1; i <= 1200; i++) {
        int diagonal = row[0]++;
        for (int j = 1; j <= 1200; j++) {
            int cost = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < cost) cost = row[j] + 1;
            if (row[j - 1] + 1 < cost) cost = row[j - 1] + 1;
            row[j] = cost;
        }
    }
    printf("queens: %d ackermann: %u life: %016" PRIx64 " edit: %d\n", queens(0x3ff, 0, 0, 0), ackermann(2, 300), fnv(world, sizeof world), row[1200]);
}

// --- A stack machine dispatched by computed goto: sum of Collatz lengths.
static void machine(void) {
    enum { PUSH, DUP, ADD, MUL, HALF, AND, JZ, JMP, LOAD, STORE, SUB, HALT };
    // JMP falls to the odd branch's end (three times x, plus one) when it stands at 25, else to its operand.
    static void *const op[] = {&&push, &&dup, &&add, &&mul, &&half, &&and, &&jz, &&jmp, &&load, &&store, &&sub, &&halt};
    static const int collatz[] = {
        /* 0*/ LOAD, 1, PUSH, 1, SUB, JZ, 31, /* 7*/ LOAD, 2, PUSH, 1, ADD, STORE, 2,
        /*14*/ LOAD, 1, DUP, PUSH, 1, AND, JZ, 26, /*22*/ PUSH, 3, MUL, JMP, /*26 even: */ HALF, STORE, 1, JMP, 0, /*31*/ HALT,
    };
    uint64_t total = 0, stack[16], variable[4];
    for (uint64_t n = 1; n < 3000; n++) {
        const int *pc = collatz;
        uint64_t *sp = stack;
        variable[1] = n, variable[2] = 0;
#define NEXT goto *op[*pc++]
        NEXT;
    push: *sp++ = *pc++; NEXT;
    dup: *sp = sp[-1]; sp++; NEXT;
    add: sp--; sp[-1] += *sp; NEXT;
    sub: sp--; sp[-1] -= *sp; NEXT;
    mul: sp--; sp[-1] *= *sp; NEXT;
    half: sp[-1] >>= 1; NEXT;
    and: sp--; sp[-1] &= *sp; NEXT;
    jz: pc = *--sp ? pc + 1 : collatz + *pc; NEXT;
    jmp:
        // The odd branch: three times x, plus one, stored, and round again.
        if (pc == collatz + 26) sp[-1]++, variable[1] = *--sp, pc = collatz;
        else pc = collatz + *pc;
        NEXT;
    load: *sp++ = variable[*pc++]; NEXT;
    store: variable[*pc++] = *--sp; NEXT;
    halt: total += variable[2] * n;
    }
    printf("machine: %016" PRIx64 "\n", total);
}

// --- Control that leaves the straight path: signals, longjmp, variadic calls, function pointers.
static sigjmp_buf away;
static volatile sig_atomic_t seen;
static void on_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    seen += number == SIGSEGV ? info->si_addr == (void *)64 : 1;
    siglongjmp(away, number);
}
static double spread(int count, ...) {
    va_list list;
    va_start(list, count);
    double sum = 0;
    for (int i = 0; i < count; i++) sum += va_arg(list, double) * va_arg(list, int) - (double)va_arg(list, long long);
    va_end(list);
    return sum;
}
static void control(void) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGUSR1, &action, 0);
    volatile int caught = 0;
    for (volatile int i = 0; i < 500; i++) {
        int number = sigsetjmp(away, 1);
        if (number) {
            caught += number == SIGSEGV ? 1 : 1000;
        } else if (i & 1) {
            raise(SIGUSR1);
        } else {
            uintptr_t address = 64;
            __asm__("" : "+r"(address));
            caught += *(volatile int *)address;
        }
    }
    double (*volatile call)(int, ...) = spread;
    printf("control: %d %d %.6g\n", caught, (int)seen, call(5, 1.5, 2, 3ll, 2.5, 3, 4ll, 3.5, 4, 5ll, 4.5, 5, 6ll, 5.5, 6, 7ll));
}

// --- Threads: atomics, a lock, a condition.
static atomic_uint_fast64_t counter, bits;
static uint64_t locked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static __thread uint64_t own;
static void *worker(void *argument) {
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < 20000; i++) {
        own += atomic_fetch_add(&counter, 3) & 0;
        own++;
        atomic_fetch_xor(&bits, 1ull << ((i + me) & 63));
        uint_fast64_t expected = atomic_load(&counter);
        while (!atomic_compare_exchange_weak(&counter, &expected, expected + 4)) {}
        pthread_mutex_lock(&lock);
        locked++;
        pthread_mutex_unlock(&lock);
    }
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&lock);
        while (turn % 4 != me) pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return (void *)(uintptr_t)own;
}
static void threads(void) {
    pthread_t thread[4];
    uint64_t sum = 0;
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], 0, worker, (void *)(intptr_t)i);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(thread[i], &result);
        sum += (uintptr_t)result;
    }
    printf("threads: %" PRIuFAST64 " %" PRIxFAST64 " %" PRIu64 " %d %" PRIu64 "\n", counter, bits, locked, turn, sum);
}

int main(void) {
    factorial(1000);
    pi(1000);
    primes();
    integers();
    vectors();
    floats();
    matrix();
    hashes();
    compression();
    sorting();
    puzzles();
    machine();
    control();
    threads();
    return 0;
}
