// More code than a translator with a small code cache can keep: a long chain of functions that the guest writes itself,
// run again and again, some of them changed in between.
#include "guest.h"

typedef u64 code(u64 x0);
enum { FUNCTIONS = 4096, WORDS = 32, ROUNDS = 3 };
static const u32 RET = 0xd65f03c0;

static u32 chain[FUNCTIONS][WORDS] __attribute__((aligned(4096)));

static u32 add_x0(u32 n) { return 0x91000000 | n << 10; }           // ADD X0, X0, #n
static u32 ror_x0(u32 by) { return 0x93c00000 | by << 10; }         // ROR X0, X0, #by
static const u32 MIX_X0 = 0xca003400;                                // EOR X0, X0, X0, LSL #13
static const u32 ON = 0x14000001;                                    // B to the next instruction

// Function n adds numbers that depend on n and `salt`, mixing in between, and goes on to the next one.
static void write_function(u32 n, u32 salt)
{
    u32 *f = chain[n];
    for (u32 i = 0; i + 1 < WORDS; i++)
        f[i] = i % 3 == 0 ? add_x0((n * 7 + i + salt) & 0xfff) : i % 3 == 1 ? MIX_X0 : ror_x0(1 + (n + i) % 63);
    f[WORDS - 1] = n + 1 < FUNCTIONS ? ON : RET;
}

// What it must give.
static u64 expect_function(u32 n, u32 salt, u64 x)
{
    for (u32 i = 0; i + 1 < WORDS; i++) {
        u32 by = 1 + (n + i) % 63;
        x = i % 3 == 0 ? x + ((n * 7 + i + salt) & 0xfff) : i % 3 == 1 ? x ^ x << 13 : x >> by | x << (64 - by);
    }
    return x;
}

void guest_main(const void *fdt)
{
    (void)fdt;
    uart_init();
    for (u32 n = 0; n < FUNCTIONS; n++)
        write_function(n, 0);
    sync_code(chain, sizeof chain);
    bool ok = true;
    for (u32 round = 0; round < ROUNDS; round++) {
        // Every 61st function is another one in each round.
        for (u32 n = round; n < FUNCTIONS && round; n += 61) {
            write_function(n, round);
            sync_code(chain[n], sizeof chain[n]);
        }
        u64 want = round;
        for (u32 n = 0; n < FUNCTIONS; n++) {
            u32 salt = 0;
            for (u32 r = 1; r <= round; r++)
                salt = n % 61 == r ? r : salt;
            want = expect_function(n, salt, want);
        }
        ok &= ((code *)(void *)chain)(round) == want;
    }
    check(ok, "a long chain of functions");
    summary("manyblocks");
}
