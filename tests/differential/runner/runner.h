// Wire format and fixed addresses; README.md describes them. Little-endian, no padding beyond what is named.
#pragma once

#define SLOTS 0x200000000        // RWX: 1024 slots of 16 bytes, used in turn
#define SLOT_COUNT 1024
#define SLOT_SIZE 16
#define EXIT_CODE 0x200100000    // the code that ends a case
#define ISOLATED 0x300000000     // RWX: 4 MiB of BRK #0
#define ISOLATED_SIZE 0x400000
#define ISOLATED_PC 0x300200000  // where an isolated case executes
#define MEMORY 0x100000000       // RW: two pages, then nothing mapped
#define MEMORY_SIZE 0x2000
#define WINDOW_SIZE 256

// Offsets in struct state.
#define STATE_X29 232
#define STATE_SP 248
#define STATE_NZCV 256
#define STATE_FPCR 264
#define STATE_FPSR 272
#define STATE_V 288

#ifndef __ASSEMBLER__
#include <stdint.h>

enum {
    FLAG_ISOLATED = 1, // execute at ISOLATED_PC among BRK instructions: for everything that may branch or reads near the PC
    FLAG_CLEAN = 2,    // fill all of MEMORY with zeros first
};

struct state {
    uint64_t x[31], sp, nzcv, fpcr, fpsr, reserved;
    unsigned __int128 v[32];
};

struct test_case {
    uint32_t insn;
    uint32_t insn2; // executed after insn; 0: none
    uint32_t flags;
    uint32_t window_offset; // of the window in MEMORY, 0 to MEMORY_SIZE - WINDOW_SIZE
    struct state state;
    uint8_t window[WINDOW_SIZE];
};

struct result {
    uint32_t signal; // 0, or the signal that ended the case
    int32_t si_code;
    uint64_t fault_address; // si_addr
    uint64_t pc_start;      // address of insn
    uint64_t pc;            // where execution stopped
    struct state state;
    uint8_t window[WINDOW_SIZE];
};

_Static_assert(sizeof(struct state) == 800, "state");
_Static_assert(sizeof(struct test_case) == 1072, "case");
_Static_assert(sizeof(struct result) == 1088, "result");
#endif
