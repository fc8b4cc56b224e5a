// The instructions under test, each in straight-line code: two instructions, the one that may fault, one more, the end.
    .text
    .macro case name, instruction:vararg
    .global code_\name
code_\name:
    add     x1, x1, #1
    eor     x2, x2, x1
    \instruction
    add     x3, x3, #1
    svc     #1
    .endm

    case ldr,           ldr x5, [x10]
    case ldr_w,         ldr w5, [x10]
    case ldrb,          ldrb w5, [x10]
    case ldrsh,         ldrsh x5, [x10]
    case ldr_pre,       ldr x5, [x10, #8]!
    case ldr_post,      ldr x5, [x10], #8
    case ldr_reg,       ldr x5, [x11, x12, lsl #3]
    case ldr_base,      ldr x10, [x10]
    case ldr_sp_pre,    ldr x5, [sp, #-16]!
    case ldp,           ldp x5, x6, [x10]
    case ldp_pre,       ldp x5, x6, [x10, #16]!
    case ldp_post,      ldp x5, x6, [x10], #16
    case ldp_base,      ldp x10, x6, [x10]
    case ldpsw,         ldpsw x5, x6, [x10]
    case str,           str x5, [x10]
    case strb,          strb w5, [x10]
    case str_pre,       str x5, [x10, #8]!
    case str_post,      str x5, [x10], #8
    case stp,           stp x5, x6, [x10]
    case stp_pre,       stp x5, x6, [x10, #-16]!
    case stp_post,      stp x5, x6, [x10], #16
    case ldr_q,         ldr q0, [x10]
    case str_q,         str q0, [x10]
    case ldp_q,         ldp q0, q1, [x10], #32
    case ld1_4,         ld1 {v0.16b-v3.16b}, [x10], #64
    case ldxr,          ldxr x5, [x10]
    case ldar,          ldar x5, [x10]
    case dc_zva,        dc zva, x10
    case br,            br x10

// 8 bytes a round: from the start of the mapped pages into the hole.
    .global walk_load, walk_load_site, walk_store, walk_store_site
walk_load:
    add     x1, x1, #1
walk_load_site:
    ldr     x5, [x10], #8
    add     x3, x3, x5
    b       walk_load
walk_store:
    add     x1, x1, #1
walk_store_site:
    str     x1, [x10], #8
    add     x3, x3, #1
    b       walk_store

// (u64 q[2]): V0 to memory and back.
    .global read_v0, write_v0
read_v0:
    str     q0, [x0]
    ret
write_v0:
    ldr     q0, [x0]
    ret
