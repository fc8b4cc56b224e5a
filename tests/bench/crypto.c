/* SHA-256 (FIPS 180-4) and AES-128 (FIPS 197) in plain C, and AES with the processor's instructions for it. */
#include "bench.h"

#include <string.h>

/* ---- sha256 ---- */

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t initial_hash[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t rotate(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* One block of 64 bytes (6.2.2). */
static void sha256_block(uint32_t hash[8], const uint8_t *block)
{
    uint32_t w[64];
    for (int t = 0; t < 16; t++)
        w[t] = big_endian(block + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], f = hash[5], g = hash[6], h = hash[7];
    for (int t = 0; t < 64; t++) {
        uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice + round_constants[t] + w[t];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority;
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e, hash[5] += f, hash[6] += g, hash[7] += h;
}

/* n blocks of 1 KiB. */
void sha256(unsigned long n)
{
    static uint8_t data[1024];
    uint32_t hash[8];
    /* "abc" with its padding: the standard's example. */
    memcpy(data, "abc\x80", 4);
    data[63] = 24;
    memcpy(hash, initial_hash, sizeof hash);
    sha256_block(hash, data);
    if (hash[0] != 0xba7816bf || hash[7] != 0xf20015ad)
        fail("the digest of the example is wrong");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = i * 7;
    begin();
    for (unsigned long round = 0; round < n; round++)
        for (size_t at = 0; at < sizeof data; at += 64)
            sha256_block(hash, data + at);
    end((uint64_t)hash[0] << 32 | hash[7]);
}

/* ---- aes ---- */

static uint8_t sbox[256];
/* SubBytes and MixColumns of one byte: the column it contributes, first row in the lowest byte. */
static uint32_t columns[4][256];

static uint8_t times_two(uint8_t x)
{
    return x << 1 ^ (x >> 7) * 0x1b;
}

static void make_tables(void)
{
    uint8_t power[256], logarithm[256] = { 0 };
    for (int i = 0, x = 1; i < 256; i++) { /* powers of the generator 3 */
        power[i] = x;
        if (i < 255)
            logarithm[x] = i;
        x = (uint8_t)(x ^ times_two(x));
    }
    for (int i = 0; i < 256; i++) {
        uint8_t inverse = i ? power[(255 - logarithm[i]) % 255] : 0;
        uint8_t s = 0x63;
        for (int by = 0; by < 5; by++)
            s ^= (uint8_t)(inverse << by | inverse >> (8 - by));
        sbox[i] = s;
        uint8_t two = times_two(s);
        uint32_t column = two | s << 8 | s << 16 | (uint32_t)(two ^ s) << 24;
        for (int row = 0; row < 4; row++)
            columns[row][i] = row ? column << 8 * row | column >> (32 - 8 * row) : column;
    }
}

/* Key expansion of AES-128 (5.2): 11 round keys of 16 bytes. */
static void expand_key(uint8_t keys[176], const uint8_t key[16])
{
    memcpy(keys, key, 16);
    uint8_t constant = 1;
    for (int i = 16; i < 176; i += 4) {
        uint8_t word[4];
        memcpy(word, keys + i - 4, 4);
        if (i % 16 == 0) {
            uint8_t first = word[0];
            word[0] = sbox[word[1]] ^ constant;
            word[1] = sbox[word[2]];
            word[2] = sbox[word[3]];
            word[3] = sbox[first];
            constant = times_two(constant);
        }
        for (int j = 0; j < 4; j++)
            keys[i + j] = keys[i + j - 16] ^ word[j];
    }
}

static uint32_t little_endian(const uint8_t *bytes)
{
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void encrypt(uint8_t block[16], const uint8_t keys[176])
{
    uint32_t s[4], t[4];
    for (int c = 0; c < 4; c++)
        s[c] = little_endian(block + 4 * c) ^ little_endian(keys + 4 * c);
    for (int round = 1; round < 10; round++) {
        for (int c = 0; c < 4; c++)
            t[c] = columns[0][s[c] & 255] ^ columns[1][s[(c + 1) & 3] >> 8 & 255] ^ columns[2][s[(c + 2) & 3] >> 16 & 255]
                ^ columns[3][s[(c + 3) & 3] >> 24] ^ little_endian(keys + 16 * round + 4 * c);
        memcpy(s, t, sizeof s);
    }
    for (int c = 0; c < 4; c++)
        for (int row = 0; row < 4; row++)
            block[4 * c + row] = sbox[s[(c + row) & 3] >> 8 * row & 255] ^ keys[160 + 4 * c + row];
}

#if defined __aarch64__
#pragma GCC push_options
#pragma GCC target("+crypto")
#include <arm_neon.h>
static void encrypt_insn(uint8_t block[16], const uint8_t keys[176])
{
    uint8x16_t state = vld1q_u8(block);
    for (int round = 0; round < 9; round++)
        state = vaesmcq_u8(vaeseq_u8(state, vld1q_u8(keys + 16 * round)));
    state = vaeseq_u8(state, vld1q_u8(keys + 144));
    vst1q_u8(block, veorq_u8(state, vld1q_u8(keys + 160)));
}
#pragma GCC pop_options
#elif defined __x86_64__
#pragma GCC push_options
#pragma GCC target("aes")
#include <wmmintrin.h>
static void encrypt_insn(uint8_t block[16], const uint8_t keys[176])
{
    const __m128i *key = (const __m128i *)keys;
    __m128i state = _mm_xor_si128(_mm_loadu_si128((__m128i *)block), _mm_loadu_si128(key));
    for (int round = 1; round < 10; round++)
        state = _mm_aesenc_si128(state, _mm_loadu_si128(key + round));
    _mm_storeu_si128((__m128i *)block, _mm_aesenclast_si128(state, _mm_loadu_si128(key + 10)));
}
#pragma GCC pop_options
#else
#define encrypt_insn encrypt
#endif

/* n times 64 blocks of 16 bytes, each the key stream's next block. */
static inline void aes_with(unsigned long n, void (*encrypt)(uint8_t *, const uint8_t *))
{
    /* Appendix B of the standard. */
    static const uint8_t key[16] = { 0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                     0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c };
    uint8_t block[16] = { 0x32, 0x43, 0xf6, 0xa8, 0x88, 0x5a, 0x30, 0x8d, 0x31, 0x31, 0x98, 0xa2, 0xe0, 0x37, 0x07, 0x34 };
    uint8_t keys[176];
    make_tables();
    expand_key(keys, key);
    encrypt(block, keys);
    if (block[0] != 0x39 || block[1] != 0x25 || block[15] != 0x32)
        fail("the encryption of the example is wrong");
    begin();
    for (unsigned long round = 0; round < 64 * n; round++)
        encrypt(block, keys);
    end((uint64_t)little_endian(block) << 32 | little_endian(block + 4));
}

void aes(unsigned long n)
{
    aes_with(n, encrypt);
}

void aes_insn(unsigned long n)
{
    aes_with(n, encrypt_insn);
}
