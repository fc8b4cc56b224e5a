/* jit: code that is written while it runs. n rounds: an expression becomes AArch64 instructions in one of 64 places of a
 * page, is called a few times, and is overwritten later. */
#ifdef __aarch64__
#define _GNU_SOURCE
#include "bench.h"

#include <sys/mman.h>

typedef uint64_t function(uint64_t x, uint64_t y);

/* Arm ARM, C6.2: each works on X0 and X1. */
static uint32_t *compile(uint32_t *at, uint64_t *seed)
{
    for (int i = 0; i < 12; i++) {
        uint32_t number = next_random(seed);
        switch (number >> 28 & 7) {
        case 0: *at++ = 0x8b010000; break;                                  /* ADD X0, X0, X1 */
        case 1: *at++ = 0x9b017c00; break;                                  /* MUL X0, X0, X1 */
        case 2: *at++ = 0xca010c00; break;                                  /* EOR X0, X0, X1, LSL #3 */
        case 3: *at++ = 0x91000021 | (number & 0xfff) << 10; break;         /* ADD X1, X1, #imm */
        case 4: *at++ = 0xd1000000 | (number & 0xfff) << 10; break;         /* SUB X0, X0, #imm */
        case 5: *at++ = 0xaa400421; break;                                  /* ORR X1, X1, X0, LSR #1 */
        case 6: *at++ = 0xf2800001 | (number & 0xffff) << 5; break;         /* MOVK X1, #imm */
        case 7:                                                             /* CBZ X1, +8; ADD X0, X0, #imm */
            *at++ = 0xb4000041;
            *at++ = 0x91000000 | (number & 0xfff) << 10;
            break;
        }
    }
    *at++ = 0xd65f03c0; /* RET */
    return at;
}

void jit(unsigned long n)
{
    enum { PLACES = 64, SIZE = 128 };
    uint8_t *code = mmap(NULL, PLACES * SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        fail("mmap of writable code");
    uint64_t seed = 41, sum = 0;
    begin();
    for (unsigned long round = 0; round < n; round++) {
        uint8_t *place = code + round % PLACES * SIZE;
        uint32_t *after = compile((uint32_t *)place, &seed);
        __builtin___clear_cache((char *)place, (char *)after);
        for (int i = 0; i < 4; i++)
            sum += ((function *)place)(sum, i);
    }
    end(sum);
}
#endif
