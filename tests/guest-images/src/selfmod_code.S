    .text

// Writes the instruction in w0 at x1 = patched_here, three instructions further on in the same straight line.
    .global patch_own_block, patched_here
patch_own_block:
    str     w0, [x1]
    dc      cvau, x1
    dsb     ish
    ic      ivau, x1
    dsb     ish
    isb
patched_here:
    movz    x0, #0
    ret

// The same without maintenance.
    .global patch_own_block_lazily, patched_lazily
patch_own_block_lazily:
    str     w0, [x1]
    nop
patched_lazily:
    movz    x0, #0
    ret

// 1 if the site is NOP, 0 if it is B past the next instruction.
    .global branch_or_nop, branch_or_nop_site
branch_or_nop:
    movz    x0, #0
branch_or_nop_site:
    nop
    add     x0, x0, #1
    ret

// Increments a counter on its own page and returns 3 * x0.
    .global count_beside_code, counter_beside_code
    .balign 64
counter_beside_code:
    .quad   0
count_beside_code:
    adr     x2, counter_beside_code
    ldr     x3, [x2]
    add     x3, x3, #1
    str     x3, [x2]
    add     x0, x0, x0, lsl #1
    ret

    .global across_pages, across_pages_site
    .balign 4096
    .skip   4096 - 8
across_pages:
    nop
    nop
across_pages_site:
    movz    x0, #0
    ret
